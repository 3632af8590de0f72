/**
 * RecordLoad: the records that a bench writes. Values are one template with the run's number and the record's sequence in front, keys are
 * made before the clock starts: making a record must cost next to nothing beside sending it. Invariant: a value is only good until the
 * next one is made, which is enough for a producer that knows its topic's layout (it copies at once).
 */
import type { ProducerRecord } from '../../client/index.ts'

/** Two bytes of the run, six of the sequence. */
export const sequenceBytes = 8

export class RecordLoad {
  readonly recordBytes: number
  /** Names of streams; empty = null keys. */
  readonly #keys: readonly Buffer[]
  readonly #value: Buffer
  readonly #run: number
  /** State of xorshift32; never 0. */
  #random: number

  constructor({ recordBytes, streams, seed }: { recordBytes: number; streams: number; seed: number }) {
    this.recordBytes = recordBytes
    this.#random = seed >>> 0 || 1
    // Of the process, not of the seed: two runs with one seed on one topic must not take each other's records for their own.
    this.#run = (process.pid ^ Date.now()) & 0xffff
    this.#value = Buffer.alloc(recordBytes, 'playhead ')
    this.#value.writeUInt16LE(this.#run, 0)
    this.#keys = streamKeys(streams)
  }

  /** The next record, to be sent before another one is made. */
  record(sequence: number): ProducerRecord {
    const value = this.#value
    const high = Math.floor(sequence / 2 ** 32)
    value[2] = sequence
    value[3] = sequence >>> 8
    value[4] = sequence >>> 16
    value[5] = sequence >>> 24
    value[6] = high
    value[7] = high >>> 8
    return { key: this.#keys.length === 0 ? null : this.#keys[this.below(this.#keys.length)]!, value }
  }

  /** The sequence in a value, or -1 if this run has not written it. */
  sequenceOf(value: Buffer | null): number {
    if (value === null || value.length < sequenceBytes || value.readUInt16LE(0) !== this.#run) return -1
    return value.readUInt16LE(6) * 2 ** 32 + value.readUInt32LE(2)
  }

  /** 0 … below - 1, uniformly; the same numbers for the same seed. */
  below(below: number): number {
    let state = this.#random
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    this.#random = state
    // The upper part of a product instead of a remainder, which costs a division for each record.
    return Math.floor(((state >>> 0) / 2 ** 32) * below)
  }
}

/** The name of a bench's stream. */
export function streamName(stream: number): string {
  return `s-${stream}`
}

/** All names as bytes, in one block of memory. */
function streamKeys(streams: number): Buffer[] {
  const nameBytesMax = streamName(streams).length
  const block = Buffer.allocUnsafeSlow(streams * nameBytesMax)
  let at = 0
  return Array.from({ length: streams }, (_, stream) => {
    const from = at
    at += block.write(streamName(stream), at, 'latin1')
    return block.subarray(from, at)
  })
}
