// What a transformer in Node needs beside its own work: the handshake, TransformerService, and the two services of
// go-plugin through which a sidecar asks whether the process lives and tells it to end. Copy it.

import path from 'node:path';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const COOKIE = { name: 'SIDEHOOK_TRANSFORMER', value: 'b0a7b2d5-6f0d-4f65-9df1-1f2f2b6f6a31' };
const MAX_MESSAGE = 64 << 20; // more than a sidecar ever sends

/** serve answers the sidecar with transform(item) until it says stop or is gone. */
export function serve(description, transform) {
  if (process.env[COOKIE.name] !== COOKIE.value) {
    console.error(`${description.name} is a Sidehook transformer: name it in a sidecar's configuration.`);
    process.exit(1);
  }
  endWithParent();

  const server = new grpc.Server({
    'grpc.max_receive_message_length': MAX_MESSAGE,
    'grpc.max_send_message_length': MAX_MESSAGE,
  });
  server.addService(transformerService(), {
    Describe: (call, callback) => callback(null, description),
    Transform: async (call, callback) =>
      callback(null, { results: await Promise.all(call.request.items.map((item) => answer(transform, item))) }),
  });
  server.addService(healthService, { Check: (call, callback) => callback(null, SERVING) });
  server.addService(controllerService, {
    Shutdown: (call, callback) => {
      callback(null, EMPTY);
      server.tryShutdown(() => process.exit(0)); // ends when the calls under way are answered
    },
  });

  // The socket goes into the folder that the sidecar gives, and nowhere else.
  const socket = path.join(process.env.PLUGIN_UNIX_SOCKET_DIR, 'node.sock');
  server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (err) => {
    if (err) {
      console.error(err.message);
      process.exit(1);
    }
    // The handshake: version of go-plugin's protocol, version of Sidehook's, network, address, kind of plugin.
    process.stdout.write(`1|1|unix|${socket}|grpc\n`);
  });
}

/** answer turns whatever transform does into a result, so that one bad item does not fail the others of its call. */
async function answer(transform, item) {
  try {
    return await transform(item);
  } catch (err) {
    return { failure: { reason: String(err?.message ?? err) } };
  }
}

/** endWithParent ends the process when the sidecar was killed and could not say stop. */
function endWithParent() {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.exit(1);
  }, 500).unref();
}

/** transformerService reads transform.proto: the copy beside this file or, in Sidehook's own tree, the original. */
function transformerService() {
  const here = path.dirname(fileURLToPath(import.meta.url));
  const file = [path.join(here, 'transform.proto'), path.join(here, '../../../api/transform/v1/transform.proto')].find(existsSync);
  const proto = grpc.loadPackageDefinition(protoLoader.loadSync(file, { keepCase: true, longs: String, defaults: true }));
  return proto.sidehook.transform.v1.TransformerService.service;
}

// go-plugin's two services carry one message of fixed content each, so they need no .proto files.
const EMPTY = Buffer.alloc(0); // google.protobuf.Empty
const SERVING = Buffer.from([0x08, 0x01]); // grpc.health.v1.HealthCheckResponse{status: SERVING}

const bytes = (b) => b;
const unary = (method) => ({
  path: method, requestStream: false, responseStream: false,
  requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes,
});
const healthService = { Check: unary('/grpc.health.v1.Health/Check') };
const controllerService = { Shutdown: unary('/plugin.GRPCController/Shutdown') };
