/**
 * Ticker: wakes who waits at regular moments, to within some 0.1 ms. Taking turns of the event loop until a moment comes would keep a whole processor
 * busy, which a broker on the same machine then lacks: with two of them its p99 was that of the operating system's time slices.
 * Neighbours: Pace waits for ticks, tick-worker.ts is the thread that makes them.
 */
import { Worker } from 'node:worker_threads'

/** Memory that both threads see. */
export interface Ticking {
  /** Of ticks so far. */
  readonly count: Int32Array<SharedArrayBuffer>
  /** When the first one is, and how long it is from one to the next; `monotonicMs`. */
  readonly times: Float64Array<SharedArrayBuffer>
  /** 0 = nothing yet, 1 = the times, 2 = to stop. */
  readonly told: Int32Array<SharedArrayBuffer>
}

/** What lies between two looks at a clock when nothing comes between. */
const apartMsMax = 0.005

/** More ticks would be nothing but work: who waits less long takes turns. */
const everyMsMin = 0.1

/** The same in every thread; performance.now() counts from the start of each. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

export class Ticker {
  readonly #worker: Worker
  readonly #ticking: Ticking
  #isOver = false

  private constructor(worker: Worker, ticking: Ticking) {
    this.#worker = worker
    this.#ticking = ticking
    worker.unref()
    worker.once('error', () => this.stop()).once('exit', () => this.stop())
  }

  /** Resolves when the thread is there. */
  static async open(): Promise<Ticker> {
    const ticking: Ticking = {
      count: new Int32Array(new SharedArrayBuffer(4)),
      times: new Float64Array(new SharedArrayBuffer(16)),
      told: new Int32Array(new SharedArrayBuffer(4)),
    }
    const file = import.meta.url.endsWith('.ts') ? './tick-worker.ts' : './tick-worker.js'
    const worker = new Worker(new URL(file, import.meta.url), { workerData: ticking })
    await new Promise((resolve, reject) => worker.once('online', resolve).once('error', reject))
    return new Ticker(worker, ticking)
  }

  /** `firstMs`: `performance.now()` of this thread. */
  begin(firstMs: number, everyMs: number): void {
    const { times, told } = this.#ticking
    times[0] = firstMs + clockOffsetMs()
    times[1] = Math.max(everyMs, everyMsMin)
    this.#worker.ref() // while ticks come, who waits for one keeps the process alive
    Atomics.compareExchange(told, 0, 0, 1)
    Atomics.notify(told, 0)
  }

  get count(): number {
    return Atomics.load(this.#ticking.count, 0)
  }

  /** Stopped, or its thread has ended: no tick comes any more. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Resolves when there were more than `seen`, or when it is over. */
  async after(seen: number): Promise<void> {
    const waiting = Atomics.waitAsync(this.#ticking.count, 0, seen)
    if (waiting.async) await waiting.value
  }

  stop(): void {
    if (this.#isOver) return
    this.#isOver = true
    const { count, told } = this.#ticking
    Atomics.store(told, 0, 2)
    Atomics.notify(told, 0)
    Atomics.notify(count, 0)
    void this.#worker.terminate()
  }
}

/** From `performance.now()` to `monotonicMs`. Both are read until nothing came between: a pause would put all ticks as much too early. */
function clockOffsetMs(): number {
  let offsetMs = 0
  for (let [tries, apartMs] = [0, Infinity]; tries < 1000 && apartMs > apartMsMax; tries++) {
    const beforeMs = performance.now()
    const nowMs = monotonicMs()
    const afterMs = performance.now()
    if (afterMs - beforeMs >= apartMs) continue
    apartMs = afterMs - beforeMs
    offsetMs = nowMs - (beforeMs + afterMs) / 2
  }
  return offsetMs
}
