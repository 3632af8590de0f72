/** StreamLedger: every stream of a log under verification, and how many events it has so far. Grows with the streams, not with the events. */
import type { RecentPostings } from './recent-postings.ts'

export class StreamLedger {
  readonly #places = new Map<string, number>()
  #counts = new Float64Array(1024)

  get size(): number {
    return this.#places.size
  }

  /** One more event. Answers the stream's place: 0, 1, 2 … in the order they came first. */
  add(stream: string): number {
    let place = this.#places.get(stream)
    if (place === undefined) {
      place = this.#places.size
      this.#places.set(stream, place)
      if (place === this.#counts.length) {
        const larger = new Float64Array(place * 2)
        larger.set(this.#counts)
        this.#counts = larger
      }
    }
    this.#counts[place]!++
    return place
  }

  /** Events of a stream before those in `postings`, which are its newest: the version of the first of them. */
  before(stream: string, postings: RecentPostings): number {
    const place = this.#places.get(stream)
    const slot = postings.slotOf(stream)
    return (place === undefined ? 0 : this.#counts[place]!) - (slot < 0 ? 0 : postings.count(slot))
  }

  has(stream: string): boolean {
    return this.#places.has(stream)
  }

  [Symbol.iterator](): MapIterator<[string, number]> {
    return this.#places[Symbol.iterator]()
  }
}
