// Prints the pairs of templates that the package `@huggingface/ollama-utils` is made with, as JSON; it exports only
// the function that looks them up.
import { readFileSync } from "node:fs";

const source = readFileSync(process.argv[2], "utf8");
const named = "var OLLAMA_CHAT_TEMPLATE_MAPPING = ";
const start = source.indexOf(named) + named.length;
const literal = source.slice(start, source.indexOf("\n];", start) + 2);
console.log(JSON.stringify(new Function(`return ${literal}`)()));
