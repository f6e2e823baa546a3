// An app as people write them with Slack's own libraries. What it learns it says in the chat, so that the emulator's
// side sees it; what concerns its sockets it prints.
const {SocketModeClient} = require('@slack/socket-mode');
const {WebClient, LogLevel} = require('@slack/web-api');

const clientOptions = {slackApiUrl: process.env.API, logLevel: LogLevel.ERROR};
const socket = new SocketModeClient({appToken: process.env.APP_TOKEN, logLevel: LogLevel.ERROR, clientOptions,
                                     clientPingTimeout: 1000});
const web = new WebClient(process.env.BOT_TOKEN, {...clientOptions, retryConfig: {retries: 0},
                                                  rejectRateLimitedCalls: true});
const seen = new Set();
let self = {};

const words = (error) => error.data?.error ?? (error.retryAfter ? `wait ${error.retryAfter}` : 'no answer');
const told = (attempt) => attempt().then((done) => `done ${done}`, (error) => `refused ${words(error)}`);
const note = (key) => ({event_type: 'note', event_payload: {key}});

const tasks = {
  echo: async (rest) => rest,
  crab: (rest) => told(async () => (await web.chat.postMessage({channel: rest.split(' ')[1], text: '\u{1f980}'.repeat(Number(rest.split(' ')[0]))})).message.text.length),
  to: (rest) => told(async () => (await web.chat.postMessage({channel: rest, text: 'hello'})).ok),
  thread: (rest, event) => told(async () =>
    (await web.chat.postMessage({channel: event.channel, thread_ts: rest || event.ts, text: 'in the thread'})).message.thread_ts === event.ts),
  update: (rest, event) => told(async () => {
    const {ts} = await web.chat.postMessage({channel: event.channel, text: 'first', metadata: note('a')});
    await web.chat.update({channel: event.channel, ts, text: rest});
    const {messages} = await web.conversations.history({channel: event.channel, limit: 1, include_all_metadata: true});
    return `${messages[0].text} ${messages[0].metadata.event_payload.key} ${messages[0].ts === ts}`;
  }),
  updateother: (_, event) => told(() => web.chat.update({channel: event.channel, ts: event.ts, text: 'x'})),
  updatenone: (_, event) => told(() => web.chat.update({channel: event.channel, ts: '1.000001', text: 'x'})),
  badmetadata: (_, event) => told(() => web.chat.postMessage({channel: event.channel, text: 'x', metadata: {event_type: 'x'}})),
  history: (rest) => told(async () => {
    const found = [];
    for await (const page of web.paginate('conversations.history', {channel: rest, limit: 2}))
      found.push(...page.messages.map((message) => message.text));
    return found.join(',');
  }),
  replies: (rest) => told(async () => {
    const [channel, ts, oldest] = rest.split(' ');
    const {messages} = await web.conversations.replies({channel, ts, oldest});
    return messages.map((message) => message.text).join(',');
  }),
  choose: (rest, event) => told(async () => {
    const elements = rest.split(' ').map((value) => (
      {type: 'button', action_id: `a-${value}`, value, text: {type: 'plain_text', text: `to ${value}`}}));
    const sent = await web.chat.postMessage({channel: event.channel, text: 'which?', blocks: [
      {type: 'section', text: {type: 'mrkdwn', text: 'which?'}}, {type: 'actions', elements}]});
    return sent.message.blocks.map((block) => block.type).join(' ');
  }),
  who: (rest) => told(async () => (await web.users.info({user: rest})).user.profile.display_name),
  where: (rest) => told(async () => (await web.conversations.info({channel: rest})).channel.name),
  file: (rest, event) => told(async () => (await web.filesUploadV2(
    {channel_id: event.channel, filename: 'a.txt', content: rest})).files[0].files[0].title),
  get: async (_, event) => {
    const got = await fetch(event.files[0].url_private_download, {headers: {Authorization: `Bearer ${process.env.BOT_TOKEN}`}});
    return `${got.status} ${await got.text()}`;
  },
  mine: () => told(async () =>
    (await web.users.conversations({types: 'im,public_channel'})).channels.map((each) => each.id).join(',')),
  wrong: () => told(() => web.apiCall('no.such')),
  apptoken: () => told(() => new WebClient(process.env.APP_TOKEN, clientOptions).auth.test()),
  bottoken: () => told(() => new WebClient(process.env.BOT_TOKEN, clientOptions).apps.connections.open()),
};

const answer = async (event) => {
  if (event.bot_id || (event.subtype && event.subtype !== 'file_share') || seen.has(event.channel + event.ts)) return;
  seen.add(event.channel + event.ts);
  const text = (event.text || 'get').replace(`<@${self.user_id}>`, '').trim();
  const [name, ...rest] = text.split(' ');
  const said = tasks[name] ? await tasks[name](rest.join(' '), event) : `heard ${text}`;
  await web.chat.postMessage({channel: event.channel, text: said}).catch((error) => console.log(`error ${words(error)}`));
};

socket.on('message', async ({event, ack, retry_num}) => {
  if (event.text === 'late' && !retry_num) return;  // the emulator has to say it again
  await ack();
  if (event.subtype === 'message_changed' && !event.message.bot_id)
    await web.chat.postMessage({channel: event.channel, text: `edited to ${event.message.text}`});
  await answer(event);
});
socket.on('app_mention', async ({event, ack}) => { await ack(); console.log(`mention ${event.channel}`); await answer(event); });
socket.on('slash_commands', async ({body, ack}) => {
  await ack();
  await web.chat.postMessage({channel: body.channel_id, text: `command ${body.command} ${body.text}`});
});
socket.on('interactive', async ({body, ack}) => {
  await ack();
  const [action] = body.actions, {channel_id: channel, message_ts: ts} = body.container;
  const text = `${body.user.id} ${body.type} ${action.action_id} ${action.value} ${body.message.text}`;
  await web.chat.update({channel, ts, text, blocks: action.value === 'keep' ? body.message.blocks : []});
});
socket.on('connected', () => console.log('connected'));
socket.on('close', () => console.log('closed'));

(async () => {
  self = await web.auth.test();
  console.log(`started ${self.user_id} ${self.bot_id}`);
  await socket.start();
})().catch((error) => { console.log(`ended ${words(error)}`); process.exit(4); });
process.once('SIGTERM', () => socket.disconnect().then(() => { console.log('stopped'); process.exit(0); }));
