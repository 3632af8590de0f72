/** A broker on free ports in a temporary directory, gone when its test ends, and the requests that tests send most. */
import { Broker } from '../../broker/broker.ts'
import type { BrokerFoundation } from '../../broker/parts.ts'
import type { BrokerConfig } from '../../broker/config.ts'
import type { RequestOf } from '../../protocol/api.ts'
import { encodeEvent } from '../../protocol/event.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { connectFrameClient } from './frame-client.ts'
import type { FrameClient, FrameReply } from './frame-client.ts'
import { overwriteLetGo } from '../overwrite-let-go.ts'

overwriteLetGo()

export interface RunningBroker extends AsyncDisposable {
  readonly broker: Broker
  readonly client: FrameClient
}

/** With one client that has said hello. */
export async function runBroker(
  settings: Partial<BrokerConfig> = {},
  foundation: BrokerFoundation = {},
): Promise<RunningBroker> {
  await using setUp = new AsyncDisposableStack()
  const { path } = setUp.use(await TemporaryDirectory.make())
  const broker = setUp.use(await Broker.start({ data: path, port: 0, httpPort: 0, ...settings }, foundation))
  const client = setUp.use(await connectFrameClient(broker.port))
  const tearDown = setUp.move()
  return { broker, client, [Symbol.asyncDispose]: () => tearDown.disposeAsync() }
}

export async function createTopic(client: FrameClient, topic: string, partitions = 1): Promise<string> {
  const { header } = await client.request('createTopic', { topic, partitions, replicationFactor: 0, settings: [] })
  return header.topicId
}

/** One batch of events, one per stream named. */
export function eventBatch(streams: readonly string[], type = 'Happened', timestampMs = 1_700_000_000_000): Buffer {
  return encodeRecordBatch(
    streams.map((stream, index) =>
      encodeEvent(stream, { type, data: { index } }, { id: Buffer.alloc(16, index + 1), timestampMs }),
    ),
  )
}

/** Appends one batch to partition 0. */
export function appendBatch(
  client: FrameClient,
  topic: string,
  batch: Buffer,
  expected: RequestOf<'append'>['groups'][number]['expected'] = [],
): Promise<FrameReply<'append'>> {
  const groups = [{ batchBytes: batch.length, expected, wantVersions: true }]
  return client.request('append', { topic, partition: 0, acks: 'all', groups }, [batch])
}

export function fetchRequest(
  topic: string,
  offset: number,
  change: Partial<RequestOf<'fetch'>> = {},
): RequestOf<'fetch'> {
  const limits = { minBytes: 1, maxBytes: 1 << 20, waitMsMax: 0 }
  return { topic, partition: 0, offset, ...limits, after: undefined, fromFollower: undefined, ...change }
}

/** As a follower on broker 2 would ask. */
export function replicaProgressRequest(topicId: string): RequestOf<'replicaProgress'> {
  return { topicId, partition: 0, leaderEpoch: 1, broker: 2, brokerEpoch: 1, durableOffset: 0 }
}

/** The same. */
export function replicaFileRequest(topicId: string): RequestOf<'replicaFile'> {
  return { ...replicaProgressRequest(topicId), kind: 'segment', offset: 0, position: 0, maxBytes: 1_000 }
}

/** The same. */
export function replicaFetchRequest(topicId: string): RequestOf<'replicaFetch'> {
  const nothingYet = { offset: 0, lastEpoch: -1, confirmed: undefined, highWatermark: undefined }
  return { ...replicaProgressRequest(topicId), ...nothingYet, maxBytes: 1_000, waitMsMax: 0 }
}
