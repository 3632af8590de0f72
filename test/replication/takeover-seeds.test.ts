/**
 * Replicas that are compacted and trimmed each for itself, as seeds say: brokers are killed, lose their disks, come back, lead in turn. Whoever leads shows of each stream
 * its newest event, under the version that it was acknowledged with, and nothing under another version.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import type { Log } from '../../storage/log.ts'
import { MemoryFileSystem } from '../storage/memory-file-system.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import { group, sealed, until } from '../storage/store-under-test.ts'
import { ReplicaGroup } from './replica-group.ts'

const brokers = [1, 2, 3]
const seeds = Number(process.env['PLAYHEAD_SEEDS'] ?? 5)
const firstSeed = Number(process.env['PLAYHEAD_SEED'] ?? Math.floor(Math.random() * 1e6))
const rounds = 10
const streams = 5
const settings = { 'segment.bytes': String(1 << 20), 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0' }
const big = 'x'.repeat(120_000)

class Run implements AsyncDisposable {
  readonly #random: SeededRandom
  readonly #replicas: ReplicaGroup
  /** By stream, the values in the order of their versions. */
  readonly #acknowledged = new Map<string, string[]>()
  readonly #done: string[]
  #values = 0
  takeovers = 0

  private constructor(seed: number, replicas: ReplicaGroup) {
    this.#random = new SeededRandom(seed)
    this.#replicas = replicas
    this.#done = [`PLAYHEAD_SEED=${seed} PLAYHEAD_SEEDS=1`]
  }

  static async start(seed: number): Promise<Run> {
    return new Run(seed, await ReplicaGroup.start(brokers, 1, undefined, { topicSettings: settings }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#replicas[Symbol.asyncDispose]()
  }

  async round(): Promise<void> {
    const random = this.#random
    await this.#append(1 + random.below(15))
    const away = random.below(3) > 0 ? await this.#takeAway() : undefined
    // Who has heard of nobody waits for nobody.
    if (away !== undefined && random.below(2) === 0) await this.#leaderAgain()
    await this.#append(random.below(15))
    for (const broker of this.#replicas.replicas.keys()) if (random.below(2) === 0) await this.#compact(broker)
    if (random.below(4) === 0) await this.#trim()
    if (away !== undefined) await this.#bringBack(away)
    await this.#inSync(brokers)
    await this.#check(this.#replicas.leader.partition.log)
    if (random.below(2) === 0) await this.#elect(random.pick(brokers))
    assert.deepEqual(this.#replicas.bugs, [])
  }

  /** One leads after the other, and all show the same newest events. */
  async end(): Promise<void> {
    for (const broker of brokers) {
      await this.#elect(broker)
      await this.#check(this.#replicas.leader.partition.log)
    }
  }

  async #append(count: number): Promise<void> {
    for (let done = 0; done < count; done++) {
      const stream = `stream-${this.#random.below(streams)}`
      const value = String(this.#values++)
      const { partition } = this.#replicas.leader
      const { versions } = await partition.append(group([`${stream}=${value}:${big}`], { wantVersions: true }))
      const values = this.#acknowledged.get(stream) ?? []
      values.push(value)
      this.#acknowledged.set(stream, values)
      assert.equal(versions[0], values.length - 1, this.#said)
    }
    this.#note(`${count} appended`)
  }

  /** A follower is killed; its disk is lost, or not. */
  async #takeAway(): Promise<number> {
    const { leader } = this.#replicas
    const broker = this.#random.pick(brokers.filter((each) => each !== leader.broker))
    await this.#replicas.kill(broker)
    const losesDisk = this.#random.below(2) === 0
    if (losesDisk) this.#replicas.disks.set(broker, new MemoryFileSystem())
    this.#note(`${broker} away${losesDisk ? ', its disk lost' : ''}`)
    const rest = brokers.filter((each) => each !== broker)
    await this.#inSync(rest)
    return broker
  }

  async #bringBack(broker: number): Promise<void> {
    await this.#replicas.open(broker)
    await this.#replicas.apply()
    this.#note(`${broker} back`)
    await this.#inSync(brokers)
    this.takeovers += this.#replicas.replicas.get(broker)?.fetcher?.stats.takeovers ?? 0
  }

  async #inSync(wanted: readonly number[]): Promise<void> {
    await until(async () => {
      await this.#replicas.lookAll()
      const { isr } = (await this.#replicas.seen()).state
      return isr.length === wanted.length && isr.every((each) => wanted.includes(each))
    })
  }

  /** In another epoch. */
  async #leaderAgain(): Promise<void> {
    const { broker } = this.#replicas.leader
    const other = [...this.#replicas.replicas.keys()].find((each) => each !== broker)!
    await this.#elect(other)
    await this.#elect(broker)
  }

  async #elect(broker: number): Promise<void> {
    if (this.#replicas.leader.broker === broker || !this.#replicas.replicas.has(broker)) return
    await this.#replicas.happen({ kind: 'elect', leader: broker, electable: [...this.#replicas.replicas.keys()] })
    await this.#replicas.leader.partition.settled()
    this.#note(`${broker} leads`)
  }

  async #compact(broker: number): Promise<void> {
    const { log } = this.#replicas.replicas.get(broker)!.partition
    await log.files.roll()
    await sealed(log)
    await log.compaction.run(() => systemClock.yield())
    this.#note(`${broker} compacted to ${log.compaction.compactedTo}`)
  }

  async #trim(): Promise<void> {
    const { partition } = this.#replicas.leader
    const offset = this.#random.below(partition.highWatermark + 1)
    await partition.deleteRecords(offset)
    await this.#replicas.apply()
    for (const { partition: each } of this.#replicas.replicas.values()) await each.log.retention.enforce()
    this.#note(`trimmed to ${offset}`)
  }

  async #check(log: Log): Promise<void> {
    for (const [stream, values] of this.#acknowledged) {
      const limitOffset = log.logEndOffset
      assert.equal(log.streamInfo(stream, limitOffset).lastVersion, values.length - 1, `${stream}: ${this.#said}`)
      const page = await log.readStream({ stream, limit: 1_000, backwards: false, maxBytes: 1 << 30, limitOffset })
      for (const [at, { value }] of page.records.entries())
        assert.equal(String(value).split(':')[0], values[page.versions[at]!], `${stream}: ${this.#said}`)
      const { firstVersion } = log.streamInfo(stream, limitOffset)
      if (firstVersion >= 0) assert.equal(page.versions.at(-1), values.length - 1, `${stream}: ${this.#said}`)
    }
    assert.deepEqual(log.damage, [], this.#said)
  }

  #note(text: string): void {
    this.#done.push(text)
  }

  get #said(): string {
    return this.#done.join('; ')
  }
}

test(`takeover: ${seeds} seeds from ${firstSeed} of three replicas that are compacted, trimmed, killed and lose disks`, async () => {
  let takeovers = 0
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    await using run = await Run.start(seed)
    for (let round = 0; round < rounds; round++) await run.round()
    await run.end()
    takeovers += run.takeovers
  }
  assert.ok(takeovers > 0 || seeds < 5, 'somebody took over files')
})
