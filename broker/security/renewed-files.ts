/**
 * RenewedFiles: what is in some files, and what is in them once somebody has written them anew: looked at now and then, and when asked. Invariant: what is in use
 * could be read and fitted together; files that cannot be read any more are reported and leave what is in use as it is.
 * Neighbours: TlsFiles and ClientTlsFiles say which files these are.
 */
import type { Clock, Timer } from '../../platform/clock.ts'

export interface RenewedFilesOptions<T> {
  readonly clock: Clock
  readonly intervalMs: number
  /** Throws what is wrong with them. */
  readonly read: () => Promise<T>
  readonly isSame: (left: T, right: T) => boolean
  /** It is in use from now on. */
  readonly onNew: (value: T) => void
  /** Once for each that is another one than before. */
  readonly onProblem: (problem: string) => void
}

export class RenewedFiles<T> {
  readonly #options: RenewedFilesOptions<T>
  #value: T
  #timer: Timer | undefined
  #reading: Promise<void> | undefined
  #problem = ''

  private constructor(options: RenewedFilesOptions<T>, value: T) {
    this.#options = options
    this.#value = value
  }

  /** Throws what `read` throws. */
  static async open<T>(options: RenewedFilesOptions<T>): Promise<RenewedFiles<T>> {
    const files = new RenewedFiles(options, await options.read())
    files.#watch()
    return files
  }

  get value(): T {
    return this.#value
  }

  /** What is wrong with the files that are there now; '' when all is well. */
  get problem(): string {
    return this.#problem
  }

  /** Looks at the files now. Never rejects. */
  reload(): Promise<void> {
    this.#reading ??= this.#reload().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  async #reload(): Promise<void> {
    const { read, isSame, onNew, onProblem } = this.#options
    try {
      const value = await read()
      this.#problem = ''
      if (isSame(value, this.#value)) return
      this.#value = value
      onNew(value)
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error)
      if (problem !== this.#problem) onProblem(problem)
      this.#problem = problem
    }
  }

  #watch(): void {
    const { clock, intervalMs } = this.#options
    this.#timer = clock.after(intervalMs, () => void this.#look())
  }

  async #look(): Promise<void> {
    await this.reload()
    if (this.#timer !== undefined) this.#watch()
  }
}
