/**
 * CountedBuckets: how often an amount was up to 1, 2, 4, 8 … units: a distribution in plain numbers, for who publishes it. Adding to it makes nothing and
 * costs a shift, so that the write path can.
 */
export class CountedBuckets {
  /** Of the first bucket: amounts up to it. */
  readonly first: number
  /** Amounts in each bucket, not summed up; the last has all that are larger. */
  readonly counts: number[]
  sum = 0

  constructor(first: number, buckets: number) {
    this.first = first
    this.counts = Array.from({ length: buckets + 1 }, () => 0)
  }

  add(amount: number): void {
    this.sum += amount
    let bucket = 0
    for (let bound = this.first; amount > bound && bucket < this.counts.length - 1; bound *= 2) bucket++
    this.counts[bucket]!++
  }
}

/** Of all durable writes of a broker: each is one group of batches of one log. */
export class CommitFigures {
  /** From the call to the disk's answer: the write and its sync. */
  readonly ms = new CountedBuckets(0.0625, 16)
  readonly bytes = new CountedBuckets(256, 17)
  readonly batches = new CountedBuckets(1, 13)
}
