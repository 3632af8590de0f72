/**
 * RealTime and realNetwork: what a simulated session stands on, over the machine's own clock and sockets, so that the sessions of test/sim can load a
 * real broker. Neighbours: load-run.ts, test/sim/session.ts.
 */
import { nodeTransport } from '../../platform/node-transport.ts'
import type { SessionOptions } from '../sim/session.ts'
import { Scheduler } from '../sim/scheduler.ts'
import type { ScheduledEvent } from '../sim/scheduler.ts'

/** Real time gives no trace that could be compared. */
export class RealTime extends Scheduler {
  #isStopped = false

  /** Nothing that is planned from now on happens: what waits for it is given up. */
  stop(): void {
    this.#isStopped = true
  }

  override get nowMs(): number {
    return performance.now()
  }

  override after(delayMs: number, _label: string, run: () => void): ScheduledEvent {
    if (this.#isStopped) return { cancel: () => undefined }
    const timer = setTimeout(run, delayMs)
    return { cancel: () => clearTimeout(timer) }
  }

  override note(): void {}
}

/** Of a look at all there is, when everything is well again: longer than any broker needs, on a machine that is busy with other things. */
export const lookMsMax = 60_000

/** Everything is dialled at `port`. */
export function realNetwork(port: number): SessionOptions['network'] {
  const connect: typeof nodeTransport.connect = (_host, _port, signal) =>
    nodeTransport.connect('127.0.0.1', port, signal)
  return { transport: () => ({ ...nodeTransport, connect }), ended: () => {} }
}
