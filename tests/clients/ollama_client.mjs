// Drives the unmodified `ollama` package of npm; says what it got as JSON on stdout.
// Arguments: the folder the package is installed in, the server's address, a model.
import { createRequire } from "node:module";

const [folder, host, model] = process.argv.slice(2);
const { Ollama } = createRequire(`${folder}/`)("ollama");
const client = new Ollama({ host });
const messages = [{ role: "user", content: "Say hello." }];
const options = { temperature: 0, num_predict: 16, regex: "Hello there, my friend!" };
const schema = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"] };

async function joined(parts, text) {
  const told = [];
  for await (const part of parts) told.push(part);
  return { text: told.map(text).join(""), done: told.map((part) => part.done), reason: told.at(-1).done_reason };
}

async function refusal(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return { name: error.name, message: error.message, status: error.status_code };
  }
}

async function aborted() {
  const parts = await client.generate({ model, prompt: "Count to 1000.", stream: true, options: { num_predict: 500 } });
  try {
    for await (const _ of parts) parts.abort();
    return null;
  } catch (error) {
    return error.name;
  }
}

console.log(
  JSON.stringify({
    chat: (await client.chat({ model, messages, options })).message,
    chatStream: await joined(await client.chat({ model, messages, options, stream: true }), (part) => part.message.content),
    generate: (await client.generate({ model, prompt: "Say hello.", options })).response,
    generateStream: await joined(
      await client.generate({ model, prompt: "Say hello.", options, stream: true }),
      (part) => part.response,
    ),
    schema: JSON.parse((await client.chat({ model, messages, format: schema })).message.content),
    embed: (await client.embed({ model, input: ["the fox ran", "a dog"] })).embeddings.map((one) => one.length),
    list: (await client.list()).models.map((one) => one.name),
    show: (await client.show({ model })).details.family,
    ps: (await client.ps()).models.map((one) => one.name),
    version: (await client.version()).version,
    missing: await refusal(client.chat({ model: "nope", messages })),
    aborted: await aborted(),
  }),
);
