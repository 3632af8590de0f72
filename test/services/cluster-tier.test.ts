/**
 * Three brokers as processes of their own, a real etcd, and one tier for all: a directory, and a bucket on a real S3 server (MinIO). What the leader
 * has sent leaves the disks of all three and reads as it was written, whoever leads; a leader that is killed while it sends, or that stood still until
 * another one led, harms nothing.
 */
import assert from 'node:assert/strict'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { sleep, systemClock } from '../../platform/clock.ts'
import { connect } from '../../client/index.ts'
import type { Playhead } from '../../client/index.ts'
import { MiB } from '../../protocol/limits.ts'
import { runPlayhead } from '../cli/run-playhead.ts'
import { ServedBroker } from '../e2e/served-broker.ts'
import { EtcdServer } from '../replication/etcd-server.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { untilInSync } from './until.ts'
import { S3Service } from './s3-service.ts'
import { metric, metricReached, readHistory, serveTiered, writeHistory } from './tiered-history.ts'

const ids = [1, 2, 3]
const history = {
  topic: 'history',
  bytes: 24 * MiB,
  segmentBytes: 1 * MiB,
  localBytes: 2 * MiB,
  valueBytes: 1024,
  scatteredEvery: 1000,
  replicationFactor: 3,
}
/** So slow that sending takes some seconds. */
const slowly = ['--tier-upload-bytes-per-second-max', String(3 * MiB)]

let etcd: EtcdServer

before(async () => {
  etcd = await EtcdServer.start()
})
after(() => etcd[Symbol.asyncDispose]())

class TieredCluster implements AsyncDisposable {
  readonly directory: TemporaryDirectory
  readonly brokers = new Map<number, ServedBroker>()
  readonly #name: string
  readonly #location: string

  private constructor(directory: TemporaryDirectory, name: string, location: string) {
    this.directory = directory
    this.#name = name
    this.#location = location
  }

  static async start(
    directory: TemporaryDirectory,
    name: string,
    location: string,
    first: readonly number[] = ids,
  ): Promise<TieredCluster> {
    const cluster = new TieredCluster(directory, name, location)
    await Promise.all(first.map((id) => cluster.serve(id)))
    return cluster
  }

  dataOf(id: number): string {
    return join(this.directory.path, `broker-${id}`)
  }

  async serve(id: number): Promise<ServedBroker> {
    const flags = ['--cluster', `etcd://${etcd.member}/${this.#name}`, '--broker-id', String(id), ...slowly]
    const session = ['--cluster-session-ms', '2000', '--replica-lag-ms-max', '1500']
    const broker = await serveTiered(this.dataOf(id), this.#location, [...flags, ...session])
    this.brokers.set(id, broker)
    return broker
  }

  connect(): Promise<Playhead> {
    return connect(
      [...this.brokers.values()].map(({ server }) => server),
      { timeoutMs: 60_000 },
    )
  }

  /** Until whoever leads has sent all, and no broker has more of the history than it should, and what it writes to. */
  async untilLetGo(playhead: Playhead, topicId: string): Promise<void> {
    await untilInSync(playhead, history.topic, ids.length)
    for (const id of ids) {
      await metricReached(this.brokers.get(id)!, 'playhead_tier_unsent_bytes', (bytes) => bytes === 0)
      const most = history.localBytes / history.segmentBytes + 2
      while ((await this.filesOf(id, topicId)).length > most) await sleep(systemClock, 50)
    }
  }

  async filesOf(id: number, topicId: string): Promise<string[]> {
    const names = await readdir(join(this.dataOf(id), 'topics', topicId, '0'))
    return names.filter((name) => name.endsWith('.log'))
  }

  /** The others are told to lead nothing, until this one does. */
  async untilLeads(playhead: Playhead, id: number): Promise<void> {
    const others = ids.filter((other) => other !== id)
    for (const other of others) await playhead.cluster.drain(other, 'leaders')
    while ((await untilInSync(playhead, history.topic, ids.length)) !== id) await sleep(systemClock, 50)
    for (const other of others) await playhead.cluster.drain(other, 'nothing')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const broker of this.brokers.values()) await broker[Symbol.asyncDispose]()
  }
}

async function cli(...args: string[]): Promise<string> {
  const { stdout, stderr, code } = await runPlayhead(args)
  assert.equal(code, 0, stderr)
  return stdout
}

async function killedWhileSending(directory: TemporaryDirectory, name: string, location: string): Promise<void> {
  let written = { digest: '', records: 0, bytes: 0 }
  {
    await using cluster = await TieredCluster.start(directory, name, location)
    const playhead = await cluster.connect()
    written = await writeHistory(playhead, history)
    const { topicId } = await playhead.admin.describeTopic(history.topic)
    const leader = await untilInSync(playhead, history.topic, ids.length)
    await metricReached(cluster.brokers.get(leader)!, 'playhead_tier_sent_segments_total', (count) => count >= 3)
    await cluster.brokers.get(leader)!.kill()
    await cluster.serve(leader)
    const next = await untilInSync(playhead, history.topic, ids.length)
    await metricReached(cluster.brokers.get(next)!, 'playhead_tier_sent_segments_total', (count) => count >= 3)
    await cluster.untilLetGo(playhead, topicId)
    for (const id of ids) {
      await cluster.untilLeads(playhead, id)
      const { seconds: _, ...read } = await readHistory(playhead, history.topic)
      assert.deepEqual(read, written, `broker ${id} leads`)
      assert.ok((await metric(cluster.brokers.get(id)!, 'playhead_tier_read_bytes_total')) > history.bytes / 2)
      assert.equal(await metric(cluster.brokers.get(id)!, 'playhead_problems'), 0)
    }
    await playhead.close()
  }
  assert.match(await cli('tier', 'verify', '--tier', location), /no damage/)
  const ls = JSON.parse(await cli('tier', 'ls', history.topic, '--tier', location, '--json')) as { endOffset: number }
  assert.equal(ls.endOffset, written.records)
  const data = join(directory.path, 'restored')
  const restored = JSON.parse(await cli('tier', 'restore', '--from', location, '--data', data, '--json')) as {
    partitions: { topic: string; endOffset: number; missing: unknown[] }[]
  }
  const partition = restored.partitions.find(({ topic }) => topic === history.topic)
  assert.equal(partition?.endOffset, written.records)
  assert.deepEqual(partition.missing, [])
  await using alone = await serveTiered(data, location)
  const playhead = await connect(alone.server, { timeoutMs: 60_000 })
  const { seconds: _, ...read } = await readHistory(playhead, history.topic)
  assert.deepEqual(read, written)
  await playhead.close()
}

test('cluster tier (3 brokers, a directory): the leader is killed while it sends; the next goes on; all is let go and read at each that leads; restored', async () => {
  await using directory = await TemporaryDirectory.make()
  await killedWhileSending(directory, 'tier-directory', `file://${directory.path}/tier`)
})

test('cluster tier (3 brokers, MinIO): the leader is killed while it sends; the next goes on; all is let go and read at each that leads; restored', async () => {
  await using service = await S3Service.minio()
  await using directory = await TemporaryDirectory.make()
  await killedWhileSending(directory, 'tier-bucket', await service.bucket('cluster'))
})

test('cluster tier: a leader that stood still while it sent, until another one led, changes nothing when it goes on; a lost disk is filled again', async () => {
  await using directory = await TemporaryDirectory.make()
  const location = `file://${directory.path}/tier`
  await using cluster = await TieredCluster.start(directory, 'tier-paused', location)
  const playhead = await cluster.connect()
  const written = await writeHistory(playhead, history)
  const { topicId } = await playhead.admin.describeTopic(history.topic)
  const leader = await untilInSync(playhead, history.topic, ids.length)
  const paused = cluster.brokers.get(leader)!
  await metricReached(paused, 'playhead_tier_sent_segments_total', (count) => count >= 3)
  process.kill(paused.pid, 'SIGSTOP')
  const next = await untilInSync(playhead, history.topic, 2)
  assert.notEqual(next, leader)
  await metricReached(cluster.brokers.get(next)!, 'playhead_tier_sent_segments_total', (count) => count >= 3)
  process.kill(paused.pid, 'SIGCONT')
  await cluster.untilLetGo(playhead, topicId)
  assert.match(await cli('tier', 'verify', '--tier', location), /no damage/)
  const lost = ids.find((id) => id !== leader && id !== next)!
  await cluster.brokers.get(lost)!.kill()
  await rm(cluster.dataOf(lost), { recursive: true })
  await cluster.serve(lost)
  await cluster.untilLetGo(playhead, topicId)
  await cluster.untilLeads(playhead, lost)
  const { seconds: _, ...read } = await readHistory(playhead, history.topic)
  assert.deepEqual(read, written)
  for (const broker of cluster.brokers.values()) assert.equal(await metric(broker, 'playhead_problems'), 0)
  await playhead.close()
})

test('cluster tier: a compacted topic that would be tiered is refused by name, when it is made and when it is changed', async () => {
  await using directory = await TemporaryDirectory.make()
  await using cluster = await TieredCluster.start(directory, 'tier-compact', `file://${directory.path}/tier`)
  const playhead = await cluster.connect()
  const settings = { 'cleanup.policy': 'compact' }
  const refusal = { code: 'invalidSetting', message: /with remote\.storage\.enable=true, wanted one of them/ }
  await assert.rejects(playhead.admin.createTopic('latest', { settings }), refusal)
  await playhead.admin.createTopic('latest', { settings: { ...settings, 'remote.storage.enable': 'false' } })
  await playhead.admin.createTopic('carts')
  await assert.rejects(playhead.admin.alterTopic('carts', settings), refusal)
  await assert.rejects(playhead.admin.alterTopic('latest', { 'remote.storage.enable': null }), refusal)
  await playhead.close()
})

test('cluster tier: begun with a broker that has a tier by itself: it hands the tier over, and what it had let go of reads on in the cluster', async () => {
  await using directory = await TemporaryDirectory.make()
  const location = `file://${directory.path}/tier`
  const small = { ...history, bytes: 8 * MiB, replicationFactor: 1 }
  let written = { digest: '', records: 0, bytes: 0 }
  {
    await using alone = await serveTiered(join(directory.path, 'broker-1'), location)
    const playhead = await connect(alone.server, { timeoutMs: 60_000 })
    written = await writeHistory(playhead, small)
    await metricReached(alone, 'playhead_tier_let_go_segments_total', (count) => count >= 3)
    await playhead.close()
    assert.equal(await alone.stop(), 0)
  }
  await using cluster = await TieredCluster.start(directory, 'tier-grown', location, [1])
  for (const id of [2, 3]) await cluster.serve(id)
  const playhead = await cluster.connect()
  await playhead.cluster.reassign(history.topic, 0, [2, 3, 1])
  await untilInSync(playhead, history.topic, ids.length)
  await cluster.untilLeads(playhead, 2)
  const { seconds: _, ...read } = await readHistory(playhead, history.topic)
  assert.deepEqual(read, written)
  const { topicId } = await playhead.admin.describeTopic(history.topic)
  await cluster.untilLetGo(playhead, topicId)
  for (const broker of cluster.brokers.values()) assert.equal(await metric(broker, 'playhead_problems'), 0)
  assert.match(await cli('tier', 'verify', '--tier', location), /no damage/)
  await playhead.close()
})
