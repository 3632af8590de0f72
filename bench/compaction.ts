/**
 * `node --conditions=playhead-source bench/compaction.ts [records] [keys] [directory]`: compaction of one partition, measured on a broker of its own.
 * Prints JSON lines: the load, the pass with nothing else to do, what an independent pass over all records says of the result, and what producing
 * loses to a pass that is under way beside it.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../client/index.ts'
import type { Playhead } from '../client/index.ts'

const [records = '10000000', keys = '1000000', parent = tmpdir()] = process.argv.slice(2)
const launcher = join(import.meta.dirname, '../bin/playhead')
const directory = mkdtempSync(join(parent, 'playhead-compaction-'))
const machine = { node: process.version, cpu: cpus()[0]?.model, cores: cpus().length }
const print = (line: object) => console.log(JSON.stringify({ ...line, ...machine }))

interface Served {
  readonly port: number
  readonly httpPort: number
}

const broker = spawn(
  launcher,
  ['serve', '--json', '--data', directory, '--port', '0', '--http-port', '0', '--clean-interval-ms', '100'],
  { stdio: ['ignore', 'pipe', 'inherit'] },
)
const ended = new Promise((resolve) => broker.once('exit', resolve))
try {
  const first = await new Promise<string>((resolve) =>
    broker.stdout.once('data', (line: Buffer) => resolve(String(line))),
  )
  await run(JSON.parse(first) as Served)
} finally {
  broker.kill('SIGTERM')
  await ended
  rmSync(directory, { recursive: true })
}

async function run({ port, httpPort }: Served): Promise<void> {
  const server = `localhost:${port}`
  const playhead = await connect(server)
  const settings = { 'segment.bytes': 64 * 1024 * 1024 }
  for (const topic of ['idle', 'busy', 'beside']) await playhead.admin.createTopic(topic, { settings })
  for (const topic of ['idle', 'busy'])
    print({ what: 'load', topic, ...produce(server, topic, ['--records', records, '--streams', keys]) })
  await saved(httpPort)

  const newest = await newestOffsets(playhead, 'idle')
  const pass = await compacted(playhead, 'idle', httpPort)
  print({ what: 'idle', ...pass })
  // All records from the beginning on were looked at.
  print({ what: 'check', ...(await check(playhead, newest, pass.records)) })

  const alone = produce(server, 'beside', ['--duration', '15', '--streams', '0'])
  await playhead.admin.alterTopic('busy', { 'cleanup.policy': 'compact' })
  await until(async () => (await metric(httpPort, 'compacting_bytes')) > 0)
  const doneBefore = await metric(httpPort, 'compacted_records_total')
  const beside = await produceAsync(server, 'beside', ['--duration', '15', '--streams', '0'])
  const isStillRunning = (await metric(httpPort, 'compacting_bytes')) > 0
  const compactedRecords = (await metric(httpPort, 'compacted_records_total')) - doneBefore
  const share = beside.recordsPerSecond / alone.recordsPerSecond
  print({
    what: 'beside producing',
    alone: alone.recordsPerSecond,
    beside: beside.recordsPerSecond,
    share,
    isStillRunning,
    compactedRecords,
  })
  await playhead.close()
}

/** The pass over a topic, from its beginning. */
async function compacted(playhead: Playhead, topic: string, httpPort: number) {
  const bytesBefore = await sizeOf(playhead, topic)
  const passes = await metric(httpPort, 'compactions_total')
  await playhead.admin.alterTopic(topic, { 'cleanup.policy': 'compact' })
  await until(async () => (await metric(httpPort, 'compacting_bytes')) > 0)
  const startMs = performance.now()
  await until(async () => (await metric(httpPort, 'compactions_total')) > passes)
  const seconds = (performance.now() - startMs) / 1000
  const count = await metric(httpPort, 'compacted_records_total')
  const removed = await metric(httpPort, 'removed_records_total')
  return {
    seconds,
    records: count,
    removed,
    recordsPerSecond: count / seconds,
    bytesBefore,
    bytes: await sizeOf(playhead, topic),
  }
}

/** Where each key's newest record stands, below each offset that compaction may end at: all offsets in order. */
async function newestOffsets(playhead: Playhead, topic: string) {
  const offsets = new Map<string, number[]>()
  for await (const batch of playhead.topic(topic).replay({}))
    for (const { offset, stream } of batch) {
      const known = offsets.get(stream ?? '')
      if (known === undefined) offsets.set(stream ?? '', [offset])
      else known.push(offset)
    }
  return offsets
}

/** Everything that is there against everything that should be. */
async function check(playhead: Playhead, all: ReadonlyMap<string, readonly number[]>, compactedTo: number) {
  const found = new Map<string, number[]>()
  let [count, wrong] = [0, 0]
  for await (const batch of playhead.topic('idle').replay({}))
    for (const { offset, stream } of batch) {
      count++
      const known = found.get(stream ?? '')
      if (known === undefined) found.set(stream ?? '', [offset])
      else known.push(offset)
    }
  for (const [stream, offsets] of all) {
    const newest = offsets.findLast((offset) => offset < compactedTo)
    const wanted = offsets.filter((offset) => offset >= compactedTo || offset === newest)
    if (JSON.stringify(found.get(stream) ?? []) !== JSON.stringify(wanted)) wrong++
  }
  let versionsChecked = 0
  for (const [stream, offsets] of all) {
    if (versionsChecked === 1000) break
    versionsChecked++
    for await (const { version, offset } of playhead.topic('idle').stream(stream).read())
      if (offsets[version ?? -1] !== offset) wrong++
  }
  return { streams: all.size, records: count, compactedTo, versionsChecked, wrong }
}

function produce(server: string, topic: string, flags: readonly string[]): { recordsPerSecond: number } {
  const { stdout } = spawnSync(launcher, argumentsOf(server, topic, flags), { encoding: 'utf8' })
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { recordsPerSecond: number }
}

/** The same while this process looks on. */
async function produceAsync(
  server: string,
  topic: string,
  flags: readonly string[],
): Promise<{ recordsPerSecond: number }> {
  const child = spawn(launcher, argumentsOf(server, topic, flags), { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  for await (const part of child.stdout) text += String(part)
  return JSON.parse(text.trim().split('\n').at(-1) ?? '') as { recordsPerSecond: number }
}

function argumentsOf(server: string, topic: string, flags: readonly string[]): string[] {
  return ['bench', 'produce', '--server', server, '--topic', topic, '--record-bytes', '100', '--json', ...flags]
}

async function sizeOf(playhead: Playhead, topic: string): Promise<number> {
  return (await playhead.admin.describeTopic(topic)).partitions[0]!.sizeBytes
}

/** Nothing is indexed or sealed any more. */
async function saved(httpPort: number): Promise<void> {
  await until(async () => (await metric(httpPort, 'index_memory_bytes')) < 32 * 1024 * 1024)
  await sleep(3000)
}

async function metric(httpPort: number, name: string): Promise<number> {
  const text = await (await fetch(`http://localhost:${httpPort}/metrics`)).text()
  return Number(new RegExp(`^playhead_log_${name} (\\S+)$`, 'm').exec(text)?.[1])
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(20)
}
