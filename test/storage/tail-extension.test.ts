/** TailExtension against extendHead: whatever it takes, the head is the same, byte for byte; and it takes the usual cases. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BlockBuilder, HeadEntries } from '../../storage/head-block.ts'
import { extendHead, goneHead } from '../../storage/head-extension.ts'
import { encodeHead, type StoredHead } from '../../storage/index-keys.ts'
import type { StreamPart } from '../../storage/merged-streams.ts'
import { RecentPostings } from '../../storage/recent-postings.ts'
import { covered } from '../../storage/stream-extent.ts'
import { TailExtension } from '../../storage/tail-extension.ts'
import { SeededRandom } from './seeded-random.ts'

const prefix = Buffer.alloc(20)

/** A stream's history, made at random. */
class History {
  readonly #random: SeededRandom
  #offset: number

  constructor(random: SeededRandom) {
    this.#random = random
    this.#offset = random.pick([0, 3, 2 ** 20, 2 ** 40])
  }

  /** A table with so many events; `again`: offsets that come first. */
  part(events: number, again: readonly number[] = []): StreamPart {
    const table = new RecentPostings()
    for (const offset of again) table.addStream('s', offset)
    for (let left = events; left > 0; left--) table.addStream('s', this.#next())
    if (this.#random.below(3) === 0) table.declareFirstVersion(0, this.#random.below(30))
    return { table, slot: 0 }
  }

  stored(): StoredHead | undefined {
    const kind = this.#random.below(4)
    if (kind === 0) return undefined
    if (kind === 1) return goneHead(1 + this.#random.below(20), this.#next())
    const part = this.part(1 + this.#random.below(this.#random.pick([5, 700])))
    return extendHead(prefix, undefined, part, { from: 0, to: part.table.count(0) }, [])
  }

  #next(): number {
    const step = this.#random.pick([1, 1 + this.#random.below(50), 1 + this.#random.below(2 ** 20)])
    return (this.#offset += step)
  }
}

/** What extendHead makes of the parts, and how many chunks leave the tail. */
function extended(old: StoredHead | undefined, parts: readonly StreamPart[]) {
  const puts: never[] = []
  let head = old
  for (const part of parts) {
    const to = part.table.count(part.slot)
    const from = head === undefined ? 0 : covered(part.table, part.slot, head.lastOffset)
    if (from < to) head = extendHead(prefix, head, part, { from, to }, puts)
  }
  return { head: head!, chunks: puts.length }
}

function entryOf(head: StoredHead, { table, slot }: StreamPart): HeadEntries {
  const block = new BlockBuilder()
  block.add(table.keys, slot, head)
  const entries = new HeadEntries(block.take())
  entries.next()
  return entries
}

test('tail extension: what it takes is byte for byte what extendHead answers, over 20,000 histories', () => {
  const random = SeededRandom.fresh()
  const extension = new TailExtension()
  let taken = 0
  try {
    for (let round = 0; round < 20_000; round++) {
      const history = new History(random)
      const old = history.stored()
      const again = old === undefined || old.tailCount === 0 || random.below(2) === 0 ? [] : [old.lastOffset]
      const parts = [history.part(random.below(4) + (again.length > 0 ? 0 : 1), again)]
      for (let more = random.below(3); more > 0; more--)
        parts.push(history.part(1 + random.below(random.pick([3, 60]))))
      const entries = old === undefined ? undefined : entryOf(old, parts[0]!)
      if (!extension.extend(entries, parts)) continue
      taken++
      const { head, chunks } = extended(old, parts)
      assert.equal(chunks, 0)
      assert.deepEqual(Buffer.from(extension.bytes.subarray(0, extension.end)), encodeHead(head))
      const { lastVersion, firstVersion, lastOffset } = extension
      assert.deepEqual([lastVersion, firstVersion, lastOffset], [head.lastVersion, head.firstVersion, head.lastOffset])
    }
    assert(taken > 5000, `found ${taken}`)
  } catch (error) {
    console.error(`PLAYHEAD_TEST_SEED=${random.seed}`)
    throw error
  }
})
