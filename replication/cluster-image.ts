/**
 * ClusterImage: this broker's copy of the metadata, kept near by hints: each leads to a read, a lost watch or a hint for anything to a read of
 * everything. Late by some milliseconds, or by as long as the store cannot be reached; then it stands as it was.
 * Invariant: one read at a time, so that what is learned never goes back.
 * Neighbours: cluster-state.ts holds it; brokers, controller and clients' metadata answers look at it.
 */
import { sleep } from '../platform/clock.ts'
import type { Clock, Timer } from '../platform/clock.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { ClusterState } from './cluster-state.ts'
import type { MetadataStore, Watch } from './metadata-store.ts'

export interface ClusterImageOptions {
  readonly store: MetadataStore
  readonly clock: Clock
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void
}

export type OnClusterChange = (keys: ReadonlySet<string>) => void

/** With more keys to read than this, and than this part of all, everything is read in one go. */
const singleReadsMax = 32
const singleReadsShare = 0.05
/** Watches have been wrong without anybody noticing: everything is read again this often. */
const rereadMs = 30_000
const pauseMsMin = 50
const pauseMsMax = 2_000

export class ClusterImage {
  readonly state: ClusterState
  readonly #options: ClusterImageOptions
  readonly #listeners = new Set<OnClusterChange>()
  readonly #ended = new AbortController()
  readonly #watch: Watch
  #unread = new Set<string>()
  #isAllUnread = true
  #reading: Promise<void> | undefined
  /** Who waits for a read of everything that begins after they came. */
  #waiting: PromiseWithResolvers<void>[] = []
  #readAtMs: number
  #reread: Timer | undefined
  /** Why nothing can be read now, as it was reported: once, not at each try. */
  #reported: string | undefined

  private constructor(options: ClusterImageOptions) {
    this.#options = options
    this.state = new ClusterState((error) => options.report('error', error.message))
    this.#readAtMs = options.clock.monotonicMs()
    this.#watch = options.store.watch('/', (key) => this.#hint(key))
  }

  /** Resolves when everything was read once. Rejects with what the store refuses; waits while it is unavailable. */
  static async open(options: ClusterImageOptions): Promise<ClusterImage> {
    const image = new ClusterImage(options)
    try {
      await image.refresh()
      return image
    } catch (error) {
      await image.close()
      throw error
    }
  }

  /** Time since the last read that succeeded. */
  get ageMs(): number {
    return this.#options.clock.monotonicMs() - this.#readAtMs
  }

  /** Calls back after each read that changed something. Answers how to take that back. */
  onChange(listener: OnClusterChange): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Resolves once all has been read at a time after this call. */
  refresh(): Promise<void> {
    const waiting = Promise.withResolvers<void>()
    this.#waiting.push(waiting)
    this.#hint(undefined)
    return waiting.promise
  }

  async close(): Promise<void> {
    this.#watch.close()
    this.#reread?.cancel()
    this.#ended.abort(new PlayheadError('closed', 'cluster image: found it closed, wanted it open'))
    await this.#reading
  }

  #hint(key: string | undefined): void {
    if (key === undefined) this.#isAllUnread = true
    else this.#unread.add(key)
    this.#reading ??= this.#readOn()
  }

  /** Reads for as long as the image is open: what hints lead to, and now and then all of it. */
  async #readOn(): Promise<void> {
    const { signal } = this.#ended
    let pauseMs = pauseMsMin
    while (!signal.aborted && (this.#isAllUnread || this.#unread.size > 0)) {
      try {
        await this.#read()
        pauseMs = pauseMsMin
      } catch (error) {
        this.#failed(error)
        await sleep(this.#options.clock, pauseMs, signal).catch(() => undefined)
        pauseMs = Math.min(2 * pauseMs, pauseMsMax)
      }
    }
    this.#reading = undefined
    if (signal.aborted) this.#rejectWaiting(signal.reason)
    else this.#planReread()
  }

  async #read(): Promise<void> {
    const keys = [...this.#unread]
    const isAll = this.#isAllUnread || keys.length > Math.max(singleReadsMax, singleReadsShare * this.state.size)
    const waiting = isAll ? this.#waiting : []
    this.#unread = new Set()
    this.#isAllUnread = false
    if (isAll) this.#waiting = []
    let changed: string[]
    try {
      changed = isAll ? await this.#readAll() : await this.#readEach(keys)
    } catch (error) {
      this.#isAllUnread ||= isAll
      for (const key of keys) this.#unread.add(key)
      this.#waiting.push(...waiting)
      throw error
    }
    this.#readAtMs = this.#options.clock.monotonicMs()
    if (this.#reported !== undefined) this.#options.report('info', 'the metadata store answers again')
    this.#reported = undefined
    if (changed.length > 0) for (const listener of this.#listeners) listener(new Set(changed))
    for (const { resolve } of waiting) resolve()
  }

  async #readAll(): Promise<string[]> {
    const { entries, revision } = await this.#options.store.range('/')
    return this.state.replace(entries, revision)
  }

  async #readEach(keys: readonly string[]): Promise<string[]> {
    const answers = await Promise.all(keys.map((key) => this.#options.store.get(key)))
    const isNew = keys.map((key, place) => {
      const { entry, revision } = answers[place]!
      return entry === undefined ? this.state.remove(key, revision) : this.state.apply(entry)
    })
    return keys.filter((_, place) => isNew[place])
  }

  #failed(error: unknown): void {
    if (this.#ended.signal.aborted) return
    const isExpected = error instanceof PlayheadError
    const message = isExpected ? error.message : `cluster image: ${String(error)}`
    if (message !== this.#reported) this.#options.report('warn', `${message}; the cluster stays as it was until then`)
    this.#reported = message
    // Nothing that waiting would mend.
    if (!isExpected || !error.retriable) this.#rejectWaiting(error)
  }

  #rejectWaiting(error: unknown): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }

  #planReread(): void {
    this.#reread?.cancel()
    this.#reread = this.#options.clock.after(rereadMs, () => this.#hint(undefined))
  }
}
