/**
 * EventSum: a sum over which events of which streams there are, in any order; made from the records of a segment and from its postings, or of a log and
 * from the cache, it tells whether both have the same, without a table of streams. Of each event two 32-bit hashes of its key, unlike each other, are mixed with its offset: what
 * damage or a bug changes gives the same sum once in 2^64. Neighbours: verify-segment.ts sums records, verify-sidecar.ts postings, verify-cache.ts what the cache has.
 */
/** As it goes from one process to another. */
export interface SummedEvents {
  readonly events: number
  readonly first: number
  readonly second: number
}

export class EventSum implements SummedEvents {
  events = 0
  first = 0
  second = 0

  /** One event; `hash` and `otherHash` of its key: streamKeyHash, and otherKeyHash. */
  add(hash: number, otherHash: number, offset: number): void {
    const place = offset < 2 ** 32 ? offset : offset + Math.imul(Math.floor(offset / 2 ** 32), 0x6c07_8965)
    this.events++
    this.first = (this.first + mixed(hash ^ Math.imul(place, 0x9e37_79b1))) | 0
    this.second = (this.second + mixed(otherHash + Math.imul(place, 0x27d4_eb2f))) | 0
  }

  /** All of another one. */
  addAll({ events, first, second }: SummedEvents): void {
    this.events += events
    this.first = (this.first + first) | 0
    this.second = (this.second + second) | 0
  }

  equals({ events, first, second }: SummedEvents): boolean {
    return this.events === events && this.first === first && this.second === second
  }
}

/** FNV-1a of the key at bytes [from, to). */
export function otherKeyHash(bytes: Buffer, from: number, to: number): number {
  let hash = 0x811c_9dc5 | 0
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ bytes[at]!, 0x0100_0193)
  return hash
}

function mixed(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85eb_ca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35)
  return hash ^ (hash >>> 16)
}
