// A bot as people write them with grammY. What it learns it says in the chat, so that the emulator's side sees it.
const {Bot, GrammyError, HttpError, InlineKeyboard, InputFile} = require('grammy');

const bot = new Bot(process.env.TOKEN, {client: {apiRoot: process.env.API, timeoutSeconds: 5}});

const told = async (ctx, attempt) => {
  try {
    const done = await attempt();
    await ctx.reply(`done ${done?.text ?? done}`);
  } catch (error) {
    if (error instanceof GrammyError)
      await ctx.reply(`refused ${error.error_code} ${error.description} ${JSON.stringify(error.parameters)}`);
    else if (error instanceof HttpError) await ctx.reply('no answer');
    else throw error;
  }
};

bot.command('echo', (ctx) => ctx.reply(ctx.match, {reply_parameters: {message_id: ctx.msg.message_id}}));
bot.command('html', (ctx) => told(ctx, () => ctx.reply(ctx.match, {parse_mode: 'HTML'})));
bot.command('long', (ctx) => told(ctx, () => ctx.reply('\u{1f980}'.repeat(Number(ctx.match)))));
bot.command('edit', (ctx) => told(ctx, async () => {
  const sent = await ctx.reply('first');
  await ctx.api.editMessageText(ctx.chat.id, sent.message_id, 'second');
  return ctx.api.editMessageText(ctx.chat.id, sent.message_id, ctx.match);
}));
bot.command('to', (ctx) => told(ctx, () => ctx.api.sendMessage(Number(ctx.match), 'hello')));
bot.command('choose', (ctx) => told(ctx, async () => {
  const buttons = ctx.match.split(' ').map((data) => InlineKeyboard.text(`to ${data}`, data));
  const sent = await ctx.reply('which?', {reply_markup: InlineKeyboard.from([buttons])});
  return sent.reply_markup.inline_keyboard[0].map((one) => one.callback_data).join(' ');
}));
bot.on('callback_query:data', async (ctx) => {
  const text = `${ctx.from.first_name} in ${ctx.chat.type}: ${ctx.callbackQuery.data} of ${ctx.msg.text}`;
  await ctx.answerCallbackQuery().catch((error) => console.log(`late ${error.description}`));
  await ctx.editMessageText(text, ctx.callbackQuery.data === 'keep' ? {reply_markup: ctx.msg.reply_markup} : {});
});
bot.command('type', (ctx) => told(ctx, () => ctx.replyWithChatAction('typing')));
bot.on('edited_message:text', (ctx) => ctx.reply(`edited to ${ctx.editedMessage.text}`));
bot.command('file', (ctx) => told(ctx, () => {
  const [kind, size] = ctx.match.split(' ');
  const png = Buffer.from('89504e470d0a1a0a0000000d494844520000000800000008', 'hex');
  const file = new InputFile(Buffer.concat([kind === 'photo' ? png : Buffer.alloc(0), Buffer.alloc(Number(size), 'x')]), 'ü x.bin');
  const send = {document: ctx.api.sendDocument, photo: ctx.api.sendPhoto, voice: ctx.api.sendVoice}[kind];
  return send.call(ctx.api, ctx.chat.id, file, kind === 'document' ? {caption: 'c'} : {});
}));
bot.on(['message:document', 'message:voice'], async (ctx) => {
  try {
    const file = await ctx.getFile();
    const answer = await fetch(`${process.env.API}/file/bot${process.env.TOKEN}/${file.file_path}`);
    const bytes = Buffer.from(await answer.arrayBuffer());
    await ctx.reply(`got ${answer.status} ${file.file_size} ${require('crypto').createHash('sha256').update(bytes).digest('hex')}`);
  } catch (error) {
    await ctx.reply(`refused ${error.error_code} ${error.description}`);
  }
});
bot.on('message:media', (ctx) => ctx.reply(`media of ${ctx.message.media_group_id ? 'an album' : 'its own'}`));
bot.on('message::mention', (ctx) => {
  const names = ctx.entities('mention').map((entity) => entity.text);
  return ctx.reply(`mentioned ${names.join(' ')}`, {message_thread_id: ctx.msg.message_thread_id});
});
bot.on('message:text', (ctx) => ctx.reply(`heard ${ctx.message.text}`));
bot.catch((error) => console.log('error', error.message));

const ends = (error) => {
  console.log(`ended ${error.error_code ?? ''} ${error.description ?? error.message}`);
  process.exit(4);
};
bot.api.setMyCommands([{command: 'echo', description: 'Say it again'}])
  .then(() => bot.start({onStart: (me) => console.log(`started ${me.username}`), allowed_updates: []}))
  .then(() => console.log('stopped'), ends);
process.once('SIGTERM', () => bot.stop());
