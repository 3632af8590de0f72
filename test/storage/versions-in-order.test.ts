/** versionsInOrder: against a model, while captures are written, fail and come between; with the tables of the index and with others. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { headBlockKey, logPrefix } from '../../storage/index-keys.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'
import { MergedStreams } from '../../storage/merged-streams.ts'
import { RecentPostings } from '../../storage/recent-postings.ts'
import { StreamIndex } from '../../storage/stream-index.ts'
import { type Fate, FaultyCheckpointStore } from './faulty-checkpoint-store.ts'
import { SeededRandom } from './seeded-random.ts'

const prefix = logPrefix(Buffer.alloc(16, 5), 3)
const damagedData = (error: unknown) => isPlayheadError(error, 'damagedData')
const turn = () => new Promise((resolve) => setImmediate(resolve))

class IndexedLog {
  readonly #random: SeededRandom
  readonly #streams: readonly string[]
  readonly #fates: readonly Fate[]
  readonly index: StreamIndex
  /** The stream at each offset. */
  readonly names: string[] = []
  readonly #versions: number[] = []
  readonly #counts = new Map<string, number>()
  #segmentStart = 0
  #writing: Promise<void> = Promise.resolve()

  constructor(random: SeededRandom, fates: readonly Fate[]) {
    this.#random = random
    this.#fates = fates
    this.#streams = Array.from(
      { length: random.pick([3, 40, 3000]) },
      (_, place) => `${random.pick(['s', 'é'])}${place}`,
    )
    const store = new FaultyCheckpointStore(new MemoryCheckpointStore(), () => random.pick([...this.#fates]))
    this.index = StreamIndex.open({ store, prefix, clock: systemClock })
    this.index.nextSegment()
  }

  add(count: number): void {
    for (let left = count; left > 0; left--) {
      const stream = this.#streams[this.#random.below(this.#streams.length)]!
      const version = this.#counts.get(stream) ?? 0
      this.#counts.set(stream, version + 1)
      this.#versions.push(version)
      this.index.add(stream, this.names.push(stream) - 1)
    }
  }

  capture(): void {
    if (this.index.capturing) return
    this.#writing = this.index
      .capture(this.names.length)
      .write([])
      .catch((error: unknown) => assert(isPlayheadError(error, 'storageFailed')))
  }

  /** Ends the segment, and asks for the versions of all its streams while the log goes on; answers how many there were. */
  async checkSegment(isReadAgain: boolean): Promise<number> {
    const [start, end] = [this.#segmentStart, this.names.length]
    this.#segmentStart = end
    const known = this.index.nextSegment()!.all!
    if (this.#random.below(3) === 0) {
      this.add(this.#random.below(3000))
      this.capture()
      await this.#writing
    }
    const tables = isReadAgain ? [this.#readAgain(start, end)] : known
    const versionOf = this.index.versionsInOrder(isReadAgain && this.#random.below(2) === 0 ? undefined : end)
    const merged = await MergedStreams.of(tables, systemClock)
    let streams = 0
    for (let parts = merged.next(); parts !== undefined; parts = merged.next()) {
      const { table, slot } = parts[0]!
      const offset = table.firstOffset(slot)
      assert.equal(versionOf(parts), this.#versions[offset], `${table.keys.stream(slot)} at ${offset}`)
      streams++
      if (this.#random.below(200) !== 0) continue
      await turn()
      if (this.#random.below(2) === 0) this.add(this.#random.below(300))
      if (this.#random.below(3) === 0) this.capture()
    }
    return streams
  }

  #readAgain(start: number, end: number): RecentPostings {
    const table = new RecentPostings(start)
    for (let offset = start; offset < end; offset++) table.addStream(this.names[offset]!, offset)
    return table
  }

  settled(): Promise<void> {
    return this.#writing
  }
}

const allWritten: Fate[] = ['written']
const someRefused: Fate[] = ['written', 'written', 'refused', 'written, but refused']
for (const fates of [allWritten, someRefused]) {
  test(`versions in order: equal a model over 30 logs, of 12 segments each, writes: ${fates.join(' / ')}`, async () => {
    const random = SeededRandom.fresh()
    try {
      let streams = 0
      for (let round = 0; round < 30; round++) {
        const log = new IndexedLog(random, fates)
        for (let segment = 0; segment < 12; segment++) {
          for (let step = random.below(4); step >= 0; step--) {
            log.add(random.below(random.pick([20, 4000])))
            if (random.below(2) === 0) log.capture()
            if (random.below(2) === 0) await turn()
          }
          streams += await log.checkSegment(random.below(3) === 0)
        }
        await log.settled()
      }
      assert(streams > 10_000, `found ${streams}`)
    } catch (error) {
      console.error(`PLAYHEAD_TEST_SEED=${random.seed}`)
      throw error
    }
  })
}

test('versions in order: 20,000 saved streams cost a search of the store for some dozens of them, not one each', async () => {
  const store = new MemoryCheckpointStore()
  let searches = 0
  const range = store.range.bind(store)
  store.range = (...search) => {
    searches++
    return range(...search)
  }
  const index = StreamIndex.open({ store, prefix, clock: systemClock })
  const table = new RecentPostings(0)
  for (let offset = 0; offset < 20_000; offset++) {
    index.add(`stream-${offset}`, offset)
    table.addStream(`stream-${offset}`, offset)
  }
  await index.capture(20_000).write([])
  searches = 0
  const versionOf = index.versionsInOrder()
  const merged = await MergedStreams.of([table], systemClock)
  for (let parts = merged.next(); parts !== undefined; parts = merged.next()) assert.equal(versionOf(parts), 0)
  assert(searches < 1000, `found ${searches}`)
})

test('versions in order: heads that are not there where they must be are damage, not streams without events', async () => {
  const store = new MemoryCheckpointStore()
  const index = StreamIndex.open({ store, prefix, clock: systemClock })
  index.nextSegment()
  index.add('a', 0)
  await index.capture(1).write([])
  index.nextSegment()
  index.add('a', 1)
  const versionOf = index.versionsInOrder(2)
  await store.write([{ key: headBlockKey(prefix, Buffer.alloc(0)), value: null }])
  const merged = await MergedStreams.of(index.nextSegment()!.all!, systemClock)
  assert.throws(() => versionOf(merged.next()!), damagedData)
})
