// aimock_journal.mjs URL [PATH]: what the scripted model was really asked. Checks that the conversation of
// two_tools.json went over the wire as streaming requests with two chained tool calls, each result
// from a command that ran. Prints "kernel=…", "boot=…" and "user=…" as the results told them.
// Fails with one sentence.
const url = process.argv[2], path = process.argv[3] ?? '/v1/messages';
const fail = (why) => { console.error(`aimock journal: ${why}`); process.exit(1); };
const journal = await (await fetch(`${url}/__aimock/journal`, {
  headers: {'x-api-key': process.env.model_key},
})).json();

const of = journal.filter((entry) =>
  (entry.body?.messages ?? []).some((m) => JSON.stringify(m).includes('which kernel, and who are you')));
if (of.length !== 3) fail(`${of.length} requests of the conversation, not 3`);
for (const entry of of) {
  if (entry.path !== path || entry.method !== 'POST') fail(`asked ${entry.method} ${entry.path}`);
  if (entry.body.stream !== true) fail('a request did not ask for a stream');
  if (entry.response.status !== 200) fail(`answered ${entry.response.status}`);
  if (path === '/v1/messages' && !entry.headers['anthropic-version']) fail('a request without anthropic-version');
}
const result = (entry, id) => {
  const message = entry.body.messages.find((m) => m.role === 'tool' && m.tool_call_id === id);
  if (!message) fail(`no result of ${id}`);
  const content = message.content;
  return typeof content === 'string' ? content : content.map((part) => part.text).join('');
};
if (of[0].body.messages.some((m) => m.role === 'tool')) fail('the first request already has a result');
if (of[1].body.messages.some((m) => m.tool_call_id === 'toolu_who')) fail('the calls were not chained');
const first = result(of[1], 'toolu_kernel');
const second = result(of[2], 'toolu_who');
if (result(of[2], 'toolu_kernel') !== first) fail('the first result changed between two requests');
const kernel = first.match(/^kernel=.+$/m)?.[0] ?? fail(`the first result is: ${first}`);
const boot = first.match(/^boot=.+$/m)?.[0] ?? fail(`the first result is: ${first}`);
const user = second.match(/uid=\d+/)?.[0] ?? fail(`the second result is: ${second}`);
console.log(`${kernel}\n${boot}\nuser=${user}`);
