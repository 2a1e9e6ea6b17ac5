// The reducer service with an encoder of its own for messages that carry a block: one copy of the bytes instead of three.
// The bytes are those of protobuf, so that either side may use the generated code instead.
import { type ChannelCredentials, type ClientOptions, makeGenericClientConstructor } from '@grpc/grpc-js';
import {
  type Block,
  type PullParametersResponse,
  type PushGradientRequest,
  type ReducerClient,
  ReducerService,
} from './generated/lockstep/v1/reducer.js';

/** For `server.addService`. */
export const reducerService = {
  pullParameters: {
    ...ReducerService.pullParameters,
    responseSerialize: (value: PullParametersResponse): Buffer =>
      carriesBytes(value.message)
        ? encodeBlockMessage(value.message.value)
        : ReducerService.pullParameters.responseSerialize(value),
  },
  pushGradient: {
    ...ReducerService.pushGradient,
    requestSerialize: (value: PushGradientRequest): Buffer =>
      carriesBytes(value.message)
        ? encodeBlockMessage(value.message.value)
        : ReducerService.pushGradient.requestSerialize(value),
  },
} as const;

type Message = (PullParametersResponse | PushGradientRequest)['message'];

function carriesBytes(message: Message): message is { $case: 'block'; value: Block } {
  return message?.$case === 'block' && !message.value.inSegment;
}

const Client = makeGenericClientConstructor(reducerService, 'lockstep.v1.Reducer');

/** A client of one slice. */
export function openReducer(
  address: string,
  channelCredentials: ChannelCredentials,
  options: Partial<ClientOptions>,
): ReducerClient {
  return new Client(address, channelCredentials, options) as unknown as ReducerClient;
}

// Field 2 of both messages is the block, length-delimited; within it index 1 (varint), data 2 (bytes), checksum 3 (fixed32).
const blockTag = (2 << 3) | 2;
const indexTag = (1 << 3) | 0;
const dataTag = (2 << 3) | 2;
const checksumTag = (3 << 3) | 5;

/** A PushGradientRequest or PullParametersResponse whose message is this block; zero and empty fields are left out. */
export function encodeBlockMessage({ index, data, checksum }: Block): Buffer {
  const inner =
    (index === 0 ? 0 : 1 + varintBytes(index)) +
    (data.byteLength === 0 ? 0 : 1 + varintBytes(data.byteLength) + data.byteLength) +
    (checksum === 0 ? 0 : 5);
  const head = 1 + varintBytes(inner) + (index === 0 ? 0 : 1 + varintBytes(index)) + 1 + varintBytes(data.byteLength);
  // The data's address is to be like its source's modulo 8: other copies out of shared memory are slow (`copyBytes`).
  const skip = (((data.byteOffset - head) % 8) + 8) % 8;
  const message = Buffer.allocUnsafeSlow(skip + 1 + varintBytes(inner) + inner).subarray(skip);
  let at = message.writeUInt8(blockTag, 0);
  at = writeVarint(message, inner, at);
  if (index !== 0) at = writeVarint(message, index, message.writeUInt8(indexTag, at));
  if (data.byteLength !== 0) {
    at = writeVarint(message, data.byteLength, message.writeUInt8(dataTag, at));
    message.set(data, at);
    at += data.byteLength;
  }
  if (checksum !== 0) message.writeUInt32LE(checksum, message.writeUInt8(checksumTag, at));
  return message;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes += 1;
  return bytes;
}

function writeVarint(target: Buffer, value: number, offset: number): number {
  let rest = value;
  let at = offset;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) at = target.writeUInt8((rest % 0x80) | 0x80, at);
  return target.writeUInt8(rest, at);
}
