// node portable_run.mjs NET.wasm '{"name": ..., "workspace_bytes": ..., ...}' < images.f32: prints the class of each image.
import { readFileSync } from "node:fs";

const [, , file, told] = process.argv;
const { name, workspace_bytes, input_shape, output_shape } = JSON.parse(told);
const module = new WebAssembly.Module(readFileSync(file));
const imports = WebAssembly.Module.imports(module);
if (imports.length) throw new Error(`needs ${imports.map((one) => `${one.module}.${one.name}`)}`);
const net = new WebAssembly.Instance(module).exports;
const count = (shape) => shape.reduce((a, b) => a * b, 1);
const inputs = count(input_shape), outputs = count(output_shape);
const start = net.memory.buffer.byteLength;
const into = start + 64 * Math.ceil(workspace_bytes / 64), from = into + 4 * inputs;
net.memory.grow(Math.ceil((from + 4 * outputs - start) / 65536));
new Uint8Array(net.memory.buffer).fill(0xff, start);
const wrong = net[`${name}_self_test`](into, from, start);
if (wrong) throw new Error(`self-test: output ${wrong}`);
const images = readFileSync(0);
for (let at = 0; at < images.length; at += 4 * inputs) {
  new Uint8Array(net.memory.buffer).set(images.subarray(at, at + 4 * inputs), into);
  net[`${name}_run`](into, from, start);
  const out = new Float32Array(net.memory.buffer, from, outputs);
  console.log(out.indexOf(Math.max(...out)));
}
