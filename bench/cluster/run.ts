/**
 * `npm run bench:cluster`: what replication costs, and how fast a replica is filled again, on this one machine: one replica and three of ours, and three of
 * Kafka's, in turn; durable on every replica in sync against Kafka's, which syncs nowhere. One JSON line.
 *   --rounds N        (default 3)
 *   --refill-mb N     of records of 1 KiB (default 2,048; 0 = not measured)
 *   --refill-replicas N  of them (default 3): two take less of the disk
 *   --no-kafka        ours only
 */
import { parseArgs } from 'node:util'
import { TemporaryDirectory } from '../../test/temporary-directory.ts'
import { KafkaTrio } from './kafka-trio.ts'
import { OurTrio } from './our-trio.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    'refill-mb': { type: 'string', default: '2048' },
    'refill-replicas': { type: 'string', default: '3' },
    'no-kafka': { type: 'boolean', default: false },
  },
})
const sizes = [100, 1024]
const recordsOf = (recordBytes: number): number => (recordBytes === 100 ? 3_000_000 : 500_000)
const refillRecords = Math.floor((Number(values['refill-mb']) * 1_000_000) / 1024)
const refillReplicas = Number(values['refill-replicas'])
/** Of 1 KiB, while a replica is filled. */
const ratePerSecond = 10_000
const rates = new Map<string, number[]>()

function note(what: string, recordsPerSecond: number): void {
  console.log(`${what}: ${Math.round(recordsPerSecond).toLocaleString('en-US')} records/s`)
  rates.set(what, [...(rates.get(what) ?? []), recordsPerSecond])
}

async function measureOurs(): Promise<void> {
  await using directory = await TemporaryDirectory.make()
  await using trio = await OurTrio.start(directory.path)
  for (const bytes of sizes) {
    for (const replicas of [1, 3]) {
      const topic = `of-${replicas}-${bytes}`
      await trio.createTopic(topic, replicas)
      note(`ours, ${replicas} replicas, ${bytes} B`, await trio.produce(topic, bytes, recordsOf(bytes)))
    }
  }
}

async function measureKafka(): Promise<void> {
  await using directory = await TemporaryDirectory.make()
  await using trio = await KafkaTrio.start(directory.path)
  for (const bytes of sizes)
    note(`Kafka, 3 replicas, ${bytes} B`, await trio.produce(`of-3-${bytes}`, bytes, recordsOf(bytes)))
}

async function measureRefill() {
  await using directory = await TemporaryDirectory.make()
  await using trio = await OurTrio.start(directory.path)
  await trio.createTopic('history', refillReplicas, { 'min.insync.replicas': String(refillReplicas - 1) })
  await trio.produce('history', 1024, refillRecords)
  const tail = await trio.refill('history', false, () => trio.produce('history', 1024, 20_000))
  const filled = new AbortController()
  let writing = Promise.resolve(0)
  let startedMs = 0
  const disk = await trio.refill('history', true, async () => {
    startedMs = performance.now()
    writing = trio.writeAt('history', 1024, ratePerSecond, filled.signal)
  })
  const writtenMs = performance.now() - startedMs
  filled.abort()
  const writtenPerSecond = Math.round(((await writing) / writtenMs) * 1000)
  return { tail, disk, diskMbPerSecond: disk.bytes / 1e6 / disk.seconds, writtenPerSecond }
}

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!

for (let round = 0; round < Number(values.rounds); round++) {
  await measureOurs()
  if (!values['no-kafka']) await measureKafka()
}
const medians = Object.fromEntries([...rates].map(([what, each]) => [what, Math.round(median(each))]))
const refill = refillRecords > 0 ? await measureRefill() : undefined
console.log(JSON.stringify({ rounds: Number(values.rounds), medians, refill }))
