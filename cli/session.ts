/**
 * Session: what every command is given: the options that are accepted anywhere, where its lines go, and a connection while it needs one.
 * Called by program.ts, used by each command.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { Playhead } from '../client/index.ts'
import { connectionOptions } from './connection-options.ts'
import type { ConnectionFlags } from './connection-options.ts'
import { Interrupted } from './failure-report.ts'
import type { LineWriter } from './line-writer.ts'

export const defaultServer = 'localhost:7420'

/** Accepted before and after every command. */
export interface GlobalOptions extends ConnectionFlags {
  /** HOST:PORT[,HOST:PORT…] */
  readonly server?: string
  /** Seconds without progress. */
  readonly timeout: number
  readonly json?: boolean
}

export class Session {
  readonly options: GlobalOptions
  readonly out: LineWriter

  constructor(options: GlobalOptions, out: LineWriter) {
    this.options = options
    this.out = out
  }

  /** As given by --server or PLAYHEAD_SERVER; undefined = neither. */
  get givenServer(): string | undefined {
    return this.options.server ?? (process.env['PLAYHEAD_SERVER'] || undefined)
  }

  get timeoutMs(): number {
    return this.options.timeout * 1000
  }

  get isJson(): boolean {
    return this.options.json === true
  }

  /** Runs `use` with a connection, which is closed afterwards, whatever happens. */
  async connected<T>(use: (playhead: Playhead) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { connect } = await import('../client/index.ts')
    const { timeoutMs } = this
    const playhead = await connect(this.givenServer ?? defaultServer, {
      clientName: 'playhead-cli',
      timeoutMs,
      ...(await connectionOptions(this.options)),
      ...(signal && { signal }),
    })
    try {
      return await use(playhead)
    } finally {
      await playhead.close()
    }
  }

  /** A line for people, on stderr. */
  note(text: string): void {
    process.stderr.write(`${text}\n`)
  }

  /** One JSON value as the command's whole answer. */
  async print(value: unknown): Promise<void> {
    await this.printText(JSON.stringify(value))
  }

  async printText(text: string): Promise<void> {
    await this.out.write(text)
    await this.out.flush()
  }
}

/** Runs `work` with a signal that Ctrl-C or SIGTERM aborts; then `whenInterrupted` says what stands, unless the work ended as if done. */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  whenInterrupted: () => string,
): Promise<T> {
  const abort = new AbortController()
  const onSignal = (): void => abort.abort(new PlayheadError('closed', 'interrupted'))
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  try {
    return await work(abort.signal)
  } catch (error) {
    if (abort.signal.aborted && error === abort.signal.reason) throw new Interrupted(whenInterrupted())
    throw error
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}
