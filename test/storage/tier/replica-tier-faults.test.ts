/**
 * Leaders change, brokers are cut off, killed and wiped at random while segments are sent to one tier and let go: what was acknowledged is there once, at
 * every broker; the tier has whole objects only, and the same log. PLAYHEAD_TEST_SEED runs one seed, PLAYHEAD_TEST_RUNS another number of them.
 */
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../../platform/clock.ts'
import { nodeFileSystem } from '../../../platform/node-file-system.ts'
import { systemRandom } from '../../../platform/random.ts'
import { isPlayheadError } from '../../../protocol/errors.ts'
import { MiB } from '../../../protocol/limits.ts'
import { ManifestStore } from '../../../storage/tier/manifest-store.ts'
import { verifyTier } from '../../../storage/tier/tier-check.ts'
import { openObjectStore } from '../../../storage/tier/tier-location.ts'
import { restoreTier } from '../../../storage/tier/tier-restore.ts'
import { dataOf, ReplicaGroup, topicId } from '../../replication/replica-group.ts'
import type { GroupTier } from '../../replication/replica-group.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'
import { eventsOf, recordsOf } from '../log-contents.ts'
import { SeededRandom } from '../seeded-random.ts'
import { group, until } from '../store-under-test.ts'
import { TieredStore } from './tiered-store.ts'

const foundation = { fileSystem: nodeFileSystem, clock: systemClock, random: systemRandom }
const brokers = [1, 2, 3]
const topicSettings = { 'segment.bytes': String(1 * MiB), 'local.retention.bytes': '0' }
const rounds = 12
const runs = Number(process.env['PLAYHEAD_TEST_RUNS'] ?? 3)

/** Appends one event after the other, and now and then has the leader end its segment. */
class Load {
  readonly acknowledged = new Map<number, string>()
  readonly #end = new AbortController()
  readonly #replicas: ReplicaGroup
  readonly #random: SeededRandom
  readonly #running: Promise<void>

  constructor(replicas: ReplicaGroup, random: SeededRandom) {
    this.#replicas = replicas
    this.#random = random
    this.#running = this.#run()
  }

  async #run(): Promise<void> {
    for (let sequence = 0; !this.#end.signal.aborted; sequence++) {
      const text = `${this.#random.pick(['a', 'b'])}=${sequence}`
      while (!this.#end.signal.aborted && !(await this.#append(text, sequence))) await systemClock.yield()
      await systemClock.yield()
    }
  }

  async #append(text: string, baseSequence: number): Promise<boolean> {
    const leader = [...this.#replicas.replicas.values()].find(({ partition }) => partition.leading !== undefined)
    try {
      const batchOptions = { producerId: 1, producerEpoch: 0, baseSequence }
      const { baseOffset } = await leader!.partition.append(group([text], { batchOptions }))
      assert.equal(this.acknowledged.get(baseOffset), undefined, 'one record at an offset')
      this.acknowledged.set(baseOffset, text)
      if (this.#random.below(4) === 0) await leader!.partition.log.files.roll()
      return true
    } catch (error) {
      if (error instanceof TypeError || isPlayheadError(error)) return false
      throw error
    }
  }

  async stop(): Promise<void> {
    this.#end.abort()
    await this.#running
  }
}

/** One thing goes wrong, is noticed, and is made good. */
async function disturb(replicas: ReplicaGroup, tier: GroupTier, random: SeededRandom): Promise<void> {
  assert.deepEqual(replicas.bugs, [])
  const victim = random.pick(brokers)
  const others = brokers.filter((broker) => broker !== victim)
  const what = random.below(4)
  const pause = async (turnsMax: number) => {
    for (let turns = random.below(turnsMax); turns > 0; turns--) await systemClock.yield()
  }
  await pause(300)
  if (what === 0) await replicas.happen({ kind: 'elect', leader: victim, electable: brokers })
  else {
    const wasIn = (await replicas.seen()).state.isr
    if (what === 1) replicas.replicas.get(victim)!.isCut = true
    else await replicas.kill(victim)
    await pause(100)
    if (what > 1 || wasIn.some((broker) => broker !== victim))
      await replicas.happen({ kind: 'brokersGone', gone: [victim], electable: others })
    await pause(200)
    const { isr, elr, leader } = (await replicas.seen()).state
    const isNeeded = [...isr, ...elr].includes(victim)
    if (what === 3 && !isNeeded) await rm(dataOf(tier, victim), { recursive: true })
    if (what === 1) replicas.replicas.get(victim)!.isCut = false
    else await replicas.open(victim)
    await replicas.apply()
    if (leader === null) await replicas.happen({ kind: 'electAny', electable: brokers })
  }
  if (random.below(3) > 0) await replicas.untilInSync(brokers)
}

async function run(random: SeededRandom): Promise<{ sent: number; letGo: number }> {
  await using directory = await TemporaryDirectory.make()
  const tier = { directory: directory.path, location: `file://${directory.path}/tier`, settings: { orphanGraceMs: -1 } }
  await using replicas = await ReplicaGroup.start(brokers, 2, undefined, { topicSettings, tier })
  const load = new Load(replicas, random)
  for (let round = 0; round < rounds; round++) await disturb(replicas, tier, random)
  for (const replica of replicas.replicas.values()) replica.isCut = false
  if ((await replicas.seen()).state.leader === null) await replicas.happen({ kind: 'electAny', electable: brokers })
  await replicas.untilInSync(brokers)
  await load.stop()
  const { log } = replicas.leader.partition
  await log.files.roll()
  const end = log.logEndOffset
  await until(() => [...replicas.replicas.values()].every(({ partition: { log: each } }) => each.durableOffset === end))
  const store = await openObjectStore(tier.location, foundation)
  const manifests = new ManifestStore(store, systemClock)
  await until(async () => (await manifests.latest(topicId, 0))?.segments.at(-1)?.footer.nextOffset === end)
  assert.deepEqual(replicas.bugs, [])
  const [records, events] = [await recordsOf(log), await eventsOf(log, 'a')]
  for (const [offset, text] of load.acknowledged) assert.equal(records[offset], text, `offset ${offset}`)
  assert.equal(new Set(records).size, records.length, 'nothing twice')
  for (const { partition, broker, tier: each } of replicas.replicas.values()) {
    assert.deepEqual(await recordsOf(partition.log), records, `broker ${broker}`)
    assert.deepEqual(await eventsOf(partition.log, 'a'), events, `broker ${broker}`)
    assert.deepEqual(each!.problems, [], `broker ${broker}`)
  }
  const verdict = await verifyTier(
    { ...foundation, store, scratchDirectory: join(directory.path, 'scratch') },
    () => undefined,
  )
  assert.deepEqual(verdict.damage, [])
  const dataDirectory = join(directory.path, 'restored')
  const [restored] = await restoreTier({ ...foundation, store, location: tier.location, dataDirectory })
  assert.deepEqual(restored?.missing, [])
  await using again = await TieredStore.open(dataDirectory, tier.location)
  assert.deepEqual(await recordsOf(again.log('carts')), records)
  assert.deepEqual(await eventsOf(again.log('carts'), 'a'), events)
  const letGo = [...replicas.replicas.values()].reduce((sum, each) => sum + each.tier!.stats.letGoSegments, 0)
  return { sent: verdict.segments, letGo }
}

test(`replica tier: random faults under load (3 brokers, ${runs} seeds)`, async () => {
  const first = SeededRandom.fresh().seed
  const count = process.env['PLAYHEAD_TEST_SEED'] === undefined ? runs : 1
  const seen = { sent: 0, letGo: 0 }
  for (let number = 0; number < count; number++) {
    const seed = first + number
    try {
      const { sent, letGo } = await run(new SeededRandom(seed))
      seen.sent += sent
      seen.letGo += letGo
    } catch (error) {
      throw new Error(`seed ${seed}: PLAYHEAD_TEST_SEED=${seed}`, { cause: error })
    }
  }
  console.log(`from seed ${first}: ${JSON.stringify(seen)}`)
  assert.ok(seen.sent > count && seen.letGo > 0)
})
