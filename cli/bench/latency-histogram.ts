/**
 * LatencyHistogram: how long things took, in memory that does not grow: log-linear buckets, 128 to each power of two, so that a
 * percentile is off by less than 0.5 %. The largest value is kept as it was. Neighbours: Measurement fills it, bench-report.ts reads it.
 */

/** Buckets follow the bits of a double: its exponent and the first bits of its mantissa are the bucket. */
const mantissaBits = 7
const shift = 20 - mantissaBits
/** About a microsecond; what is shorter counts as this. */
const leastMs = 2 ** -10
/** About two hours and twenty minutes; what is longer counts as this, the maximum excepted. */
const mostMs = 2 ** 23

const bits = new DataView(new ArrayBuffer(8))

function placeOf(valueMs: number): number {
  bits.setFloat64(0, valueMs)
  return bits.getUint32(0) >>> shift
}

const firstPlace = placeOf(leastMs)
const bucketCount = placeOf(mostMs) - firstPlace + 1

/** The middle of a bucket, ms. */
function middleOf(bucket: number): number {
  const place = bucket + firstPlace
  bits.setUint32(4, 0)
  bits.setUint32(0, (place << shift) >>> 0)
  const from = bits.getFloat64(0)
  bits.setUint32(0, ((place + 1) << shift) >>> 0)
  return (from + bits.getFloat64(0)) / 2
}

export class LatencyHistogram {
  readonly #counts = new Float64Array(bucketCount)
  #count = 0
  #maxMs = 0

  /** Adds `count` values of `valueMs` each. What is negative, a clock's grain, counts as 0. */
  add(valueMs: number, count = 1): void {
    if (valueMs > this.#maxMs) this.#maxMs = valueMs
    this.#counts[placeOf(Math.min(Math.max(valueMs, leastMs), mostMs)) - firstPlace]! += count
    this.#count += count
  }

  get count(): number {
    return this.#count
  }

  /** ms; 0 when there is none. */
  get maxMs(): number {
    return this.#maxMs
  }

  /** The value that `percent` of all values do not exceed, ms; 0 when there is none. */
  percentileMs(percent: number): number {
    if (this.#count === 0) return 0
    const wanted = Math.max(1, Math.ceil((percent / 100) * this.#count))
    let seen = 0
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      seen += this.#counts[bucket]!
      if (seen >= wanted) return Math.min(middleOf(bucket), this.#maxMs)
    }
    return this.#maxMs
  }
}
