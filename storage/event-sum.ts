/**
 * EventSum: a sum over which events of which streams there are, in any order; made from the records of a segment and from its postings, it tells whether
 * both have the same, without a table of streams. Of each event two 32-bit hashes of its key, unlike each other, are mixed with its offset: what
 * damage or a bug changes gives the same sum once in 2^64. Neighbours: verify-segment.ts sums records, verify-sidecar.ts postings.
 */
export class EventSum {
  events = 0
  readonly #baseOffset: number
  #first = 0
  #second = 0

  /** No offset is below `baseOffset`. */
  constructor(baseOffset: number) {
    this.#baseOffset = baseOffset
  }

  /** One event; `hash` and `otherHash` of its key: streamKeyHash, and otherKeyHash. */
  add(hash: number, otherHash: number, offset: number): void {
    const relative = offset - this.#baseOffset
    this.events++
    this.#first = (this.#first + mixed(hash ^ Math.imul(relative, 0x9e37_79b1))) | 0
    this.#second = (this.#second + mixed(otherHash + Math.imul(relative, 0x27d4_eb2f))) | 0
  }

  equals(other: EventSum): boolean {
    return this.events === other.events && this.#first === other.#first && this.#second === other.#second
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
