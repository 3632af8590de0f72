/**
 * sortSlots: the slots of a KeyTable in the order of their keys' bytes. A radix sort from the first byte on, because comparing a million names in
 * pairs takes seconds and this a few tenths (measured: 1 M names of 15 bytes); it yields to the event loop as it goes.
 * Neighbours: RecentPostings keeps the result, MergedStreams walks along it.
 */
import type { Yielding } from '../platform/clock.ts'
import type { KeyTable } from './key-table.ts'

/** Keys looked at between two yields to the event loop: about 2 ms. */
const keysPerTurn = 32_768
/** Ranges shorter than this are sorted by insertion. */
const insertionMax = 24
/** A byte, or the end of the key, which comes first. */
const codesMax = 257

/** A range of slots whose keys agree in the first `depth` bytes. */
interface Range {
  readonly from: number
  readonly to: number
  readonly depth: number
}

/** From so many keys on, six bytes behind what all begin with are sorted first, beside the slots and not where the keys lie all over memory. */
const codedMin = 4096

export async function sortSlots(keys: KeyTable, clock: Yielding): Promise<Uint32Array> {
  if (keys.size < codedMin) {
    const slots = Uint32Array.from({ length: keys.size }, (_, slot) => slot)
    await sortRanges(keys, slots, [{ from: 0, to: slots.length, depth: 0 }], clock)
    return slots
  }
  const depth = await commonBytes(keys, clock)
  const coded = await codesOf(keys, depth, clock)
  for (const digit of [digits.low, digits.middle, digits.high]) await sortByDigit(coded, digit, clock)
  const { slots, high, low } = coded
  const alike: Range[] = []
  for (let from = 0; from < slots.length; ) {
    let to = from + 1
    while (to < slots.length && high[to] === high[from] && low[to] === low[from]) to++
    if (to - from > 1) alike.push({ from, to, depth })
    from = to
  }
  await sortRanges(keys, slots, alike, clock)
  return slots
}

/** Slots with the six bytes of their keys that come first to sort by, 0 behind a key's end. */
interface Coded {
  slots: Uint32Array
  high: Uint32Array
  low: Uint16Array
}

/** The 16 bits of a code that a pass sorts by, the lowest first. */
const digits = {
  low: (_high: number, low: number) => low,
  middle: (high: number) => high & 0xffff,
  high: (high: number) => high >>> 16,
}

/** Of how many bytes all keys have in common at their beginning. */
async function commonBytes(keys: KeyTable, clock: Yielding): Promise<number> {
  let common = keys.keyBytes(0)
  for (let slot = 1; slot < keys.size && common > 0; slot++) {
    for (let place = 0; place < common; place++) if (keys.byteAt(slot, place) !== keys.byteAt(0, place)) common = place
    if (slot % keysPerTurn === 0) await clock.yield()
  }
  return common
}

async function codesOf(keys: KeyTable, depth: number, clock: Yielding): Promise<Coded> {
  const { size } = keys
  const coded: Coded = { slots: new Uint32Array(size), high: new Uint32Array(size), low: new Uint16Array(size) }
  const byte = (slot: number, place: number) => Math.max(0, keys.byteAt(slot, depth + place))
  for (let slot = 0; slot < size; slot++) {
    coded.slots[slot] = slot
    coded.high[slot] = (byte(slot, 0) << 24) | (byte(slot, 1) << 16) | (byte(slot, 2) << 8) | byte(slot, 3)
    coded.low[slot] = (byte(slot, 4) << 8) | byte(slot, 5)
    if (slot % keysPerTurn === 0) await clock.yield()
  }
  return coded
}

/** One pass of a radix sort; what is alike stays in order. */
async function sortByDigit(coded: Coded, digit: (high: number, low: number) => number, clock: Yielding): Promise<void> {
  const { slots, high, low } = coded
  const places = new Uint32Array(65_537)
  for (let at = 0; at < slots.length; at++) places[digit(high[at]!, low[at]!) + 1]!++
  for (let value = 1; value < places.length; value++) places[value]! += places[value - 1]!
  const sorted: Coded = {
    slots: new Uint32Array(slots.length),
    high: new Uint32Array(slots.length),
    low: new Uint16Array(slots.length),
  }
  for (let at = 0; at < slots.length; at++) {
    const place = places[digit(high[at]!, low[at]!)]!++
    sorted.slots[place] = slots[at]!
    sorted.high[place] = high[at]!
    sorted.low[place] = low[at]!
    if (at % keysPerTurn === 0) await clock.yield()
  }
  Object.assign(coded, sorted)
}

/** Sorts ranges from their own depth on. */
async function sortRanges(keys: KeyTable, slots: Uint32Array, waiting: Range[], clock: Yielding): Promise<void> {
  const scratch = { slots: new Uint32Array(slots.length), codes: new Uint16Array(slots.length) }
  let looked = 0
  for (let range = waiting.pop(); range !== undefined; range = waiting.pop()) {
    if (range.to - range.from < insertionMax) sortByInsertion(keys, slots, range)
    else splitByByte(keys, slots, range, scratch, waiting)
    looked += range.to - range.from
    if (looked < keysPerTurn) continue
    looked = 0
    await clock.yield()
  }
}

/** Puts a range in the order of one byte, and what agrees in it on `waiting`. */
function splitByByte(
  keys: KeyTable,
  slots: Uint32Array,
  { from, to, depth }: Range,
  scratch: { slots: Uint32Array; codes: Uint16Array },
  waiting: Range[],
): void {
  const places = new Uint32Array(codesMax + 1)
  const { codes } = scratch
  for (let at = from; at < to; at++) {
    const code = keys.byteAt(slots[at]!, depth) + 1
    codes[at] = code
    places[code + 1]!++
  }
  if (places[codes[from]! + 1] === to - from) {
    if (codes[from] !== 0) waiting.push({ from, to, depth: depth + 1 })
    return
  }
  for (let code = 1; code <= codesMax; code++) places[code]! += places[code - 1]!
  for (let code = codesMax - 1; code > 0; code--) {
    const [first, end] = [from + places[code]!, from + places[code + 1]!]
    if (end - first > 1) waiting.push({ from: first, to: end, depth: depth + 1 })
  }
  for (let at = from; at < to; at++) scratch.slots[from + places[codes[at]!]!++] = slots[at]!
  slots.set(scratch.slots.subarray(from, to), from)
}

function sortByInsertion(keys: KeyTable, slots: Uint32Array, { from, to, depth }: Range): void {
  for (let next = from + 1; next < to; next++) {
    const slot = slots[next]!
    let at = next
    for (; at > from && keys.compare(slots[at - 1]!, keys, slot, depth) > 0; at--) slots[at] = slots[at - 1]!
    slots[at] = slot
  }
}
