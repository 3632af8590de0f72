/**
 * RecordSender: sends a run's records, one `send` each, as fast as the producers take them or at the set rate, and knows afterwards when a
 * record was (or should have been) sent. Called by produce-bench.ts and end-to-end-bench.ts.
 */
import type { Producer } from '../../client/index.ts'
import { KiB, MiB } from '../../protocol/limits.ts'
import type { BenchRun } from './bench-run.ts'
import { Pace } from './pace.ts'
import { untilAborted } from '../../platform/abort.ts'

/** The clock is read once for so many records: it costs as much as a record. */
const recordsPerStamp = 64
/** More records than the buffers of all producers can hold: a stamp is not overwritten before its records are answered. */
const stampsMax = 2 ** 18
const bufferBytesAll = 32 * MiB
const bufferBytesMin = 256 * KiB

export class RecordSender {
  readonly #run: BenchRun
  readonly #producers: readonly Producer[]
  readonly #stamps = new Float64Array(stampsMax)
  /** Undefined = as fast as the producers take them. */
  readonly #pace: Pace | undefined
  #sent = 0

  private constructor(run: BenchRun, producers: readonly Producer[], pace: Pace | undefined) {
    this.#run = run
    this.#producers = producers
    this.#pace = pace
  }

  /** One producer for each connection, ready to send. @throws PlayheadError `unknownTopic`, `unavailable` */
  static async open(run: BenchRun): Promise<RecordSender> {
    const { batchBytes, lingerMs, inFlight, acks, compression, topic, rate } = run.settings
    const bufferBytesMax = Math.max(bufferBytesMin, 2 * batchBytes, Math.floor(bufferBytesAll / run.clients.length))
    const options = { batchBytes, lingerMs, inFlight, acks, compression, bufferBytesMax }
    const producers = run.clients.map((client) =>
      client.topic(topic).producer({ ...options, onError: (error) => run.fail(error) }),
    )
    // Also makes sure that the layout is known, before which records wait as they are: they share one value.
    await Promise.all(producers.map((producer) => producer.flush({ signal: run.signal })))
    return new RecordSender(run, producers, rate === undefined ? undefined : await Pace.open(rate, run.signal))
  }

  get producers(): readonly Producer[] {
    return this.#producers
  }

  get sent(): number {
    return this.#sent
  }

  /** When the record was sent, to within 64 records; at a set rate: when it was due. Monotonic, ms. */
  sentMs(sequence: number): number {
    if (this.#pace !== undefined) return this.#pace.dueMs(sequence)
    return this.#stamps[Math.floor(sequence / recordsPerStamp) % stampsMax]!
  }

  /** Sends until the records or the time are used up, and resolves when all is written. @throws the signal's reason */
  async run(startedMs: number): Promise<void> {
    const untilMs = startedMs + this.#run.settings.durationMs
    if (this.#pace === undefined) {
      await this.#sendAll(untilMs)
    } else {
      this.#pace.begin(startedMs)
      await this.#sendPaced(this.#pace, untilMs).finally(() => this.#pace?.stop())
    }
    await Promise.all(this.#producers.map((producer) => producer.flush({ signal: this.#run.signal })))
    this.#run.signal.throwIfAborted()
  }

  async #sendAll(untilMs: number): Promise<void> {
    const { load, signal, settings } = this.#run
    const { records } = settings
    const producers = this.#producers
    for (let sequence = 0; sequence < records; sequence++) {
      if (sequence % recordsPerStamp === 0) {
        signal.throwIfAborted()
        const nowMs = performance.now()
        if (nowMs >= untilMs) return
        this.#stamps[(sequence / recordsPerStamp) % stampsMax] = nowMs
      }
      const room = producers[sequence % producers.length]!.send(load.record(sequence))
      this.#sent = sequence + 1
      if (room !== undefined) await untilAborted(room, signal)
    }
  }

  async #sendPaced(pace: Pace, untilMs: number): Promise<void> {
    const { load, signal, settings } = this.#run
    const producers = this.#producers
    for (let sequence = 0; sequence < settings.records; sequence++) {
      const dueMs = pace.dueMs(sequence)
      const nowMs = performance.now()
      if (dueMs >= untilMs || nowMs >= untilMs) return
      if (dueMs > nowMs) await pace.wait(dueMs)
      else signal.throwIfAborted()
      const room = producers[sequence % producers.length]!.send(load.record(sequence))
      this.#sent = sequence + 1
      if (room !== undefined) await untilAborted(room, signal)
    }
  }
}
