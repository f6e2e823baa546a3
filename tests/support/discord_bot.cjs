// A bot as people write them with discord.js. What it learns it says in the channel, so that the emulator's side sees it.
const {ActionRowBuilder, ButtonBuilder, ButtonStyle, Client, DiscordAPIError, GatewayIntentBits, Partials} = require('discord.js');

const client = new Client({
  intents: [GatewayIntentBits.Guilds, GatewayIntentBits.GuildMessages, GatewayIntentBits.DirectMessages,
            ...(process.env.CONTENT ? [GatewayIntentBits.MessageContent] : [])],
  partials: [Partials.Channel],
  rest: {api: process.env.API, timeout: 5000, retries: 1},
});

const told = async (message, attempt) => {
  try {
    const done = await attempt();
    await message.channel.send(`done ${done?.content ?? done}`);
  } catch (error) {
    if (error instanceof DiscordAPIError) await message.channel.send(`refused ${error.status} ${error.code} ${error.message}`);
    else await message.channel.send(`no answer: ${error.name}`);
  }
};

const commands = {
  echo: (message, rest) => message.reply({content: rest, allowedMentions: {parse: []}}),
  long: (message, rest) => told(message, () => message.channel.send('\u{1f980}'.repeat(Number(rest)))),
  edit: (message, rest) => told(message, async () => (await message.channel.send('first')).edit(rest)),
  steal: (message) => told(message, () => message.edit('mine')),
  twice: (message, rest) => told(message, async () => {
    const one = await message.channel.send({content: rest, nonce: rest, enforceNonce: true});
    const two = await message.channel.send({content: rest, nonce: rest, enforceNonce: true});
    return one.id === two.id ? 'the same' : 'another';
  }),
  to: (message, rest) => told(message, async () => (await client.channels.fetch(rest)).send('hello')),
  type: (message) => told(message, () => message.channel.sendTyping()),
  many: (message, rest) => told(message, async () => {
    for (let i = 0; i < Number(rest); ++i) await message.channel.send(`number ${i}`);
    return 'all';
  }),
  choose: (message, rest) => told(message, async () => {
    const buttons = rest.split(' ').map((id) => new ButtonBuilder().setCustomId(id).setLabel(`to ${id}`).setStyle(ButtonStyle.Secondary));
    const sent = await message.channel.send({content: 'which?', components: [new ActionRowBuilder().addComponents(buttons)]});
    return sent.components[0].components.map((one) => `${one.label}=${one.customId}`).join(' ');
  }),
  since: (message, rest) => told(message, async () => {
    const found = await message.channel.messages.fetch({after: rest, limit: 2});
    return [...found.values()].map((one) => one.content).join(' ');
  }),
};

client.on('messageCreate', async (message) => {
  if (message.author.bot) return;
  const [, name, rest] = /^!(\w+) ?(.*)$/su.exec(message.content) ?? [];
  if (commands[name]) return commands[name](message, rest);
  const where = message.guild ? `${message.guild.name} #${message.channel.name}` : 'private';
  const named = message.mentions.has(client.user) ? ', named' : '';
  const replied = message.reference ? `, to ${(await message.fetchReference()).content}` : '';
  return message.channel.send(`${where}${named}${replied}: ${message.content.length} ${message.content.slice(0, 50)}`);
});
client.on('messageUpdate', (_, message) => message.author.bot || message.channel.send(`edited to ${message.content}`));
client.on('interactionCreate', async (press) => {
  if (!press.isButton()) return;
  const who = `${press.user.globalName} in ${press.inGuild() ? press.guild.name : 'private'}: ${press.customId}`;
  if (press.customId === 'update') return press.update({content: who, components: []});
  if (press.customId === 'late') await new Promise((done) => setTimeout(done, 3300));
  return told(press.message, async () => {
    await press.deferUpdate();
    if (press.customId === 'twice') await press.client.rest.post(`/interactions/${press.id}/${press.token}/callback`, {auth: false, body: {type: 6}});
    await press.message.edit(press.customId === 'keep' ? {content: who} : {content: who, components: []});
    return who;
  });
});
client.on('threadCreate', (thread) => thread.send(`in ${thread.name}`));
client.on('clientReady', () => console.log(`ready ${client.user.username} ${client.guilds.cache.size}`));
client.on('shardResume', (_, count) => console.log(`resumed ${count}`));
client.on('shardDisconnect', (event) => console.log(`closed ${event.code}`));
client.on('error', (error) => console.log('error', error.message));
client.on('invalidated', () => console.log('invalidated'));
process.on('unhandledRejection', (error) => {
  console.log(`ended ${error.code ?? ''} ${error.message}`);
  process.exit(4);
});
client.login(process.env.TOKEN);
process.once('SIGTERM', () => client.destroy().then(() => process.exit(0)));
