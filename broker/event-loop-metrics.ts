/** How busy the event loop is, and how long it keeps others waiting: read at a scrape, measured by the runtime beside it. Made by Metrics. */
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'

const resolutionMs = 10

export class EventLoopFigures {
  readonly #delay = monitorEventLoopDelay({ resolution: resolutionMs })
  #before = performance.eventLoopUtilization()

  constructor() {
    this.#delay.enable()
  }

  /** Since the last call; seconds beyond what a timer of 10 ms takes by itself. */
  takeDelay(): { p50: number; p99: number; max: number } {
    const seconds = (nanoseconds: number): number => Math.max(0, (nanoseconds / 1e6 - resolutionMs) / 1000)
    const taken = {
      p50: seconds(this.#delay.percentile(50)),
      p99: seconds(this.#delay.percentile(99)),
      max: seconds(this.#delay.max),
    }
    this.#delay.reset()
    return taken
  }

  /** Since the last call: the share of time in which it worked, 0 to 1. */
  takeUtilization(): number {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, this.#before)
    this.#before = now
    return utilization
  }

  close(): void {
    this.#delay.disable()
  }
}
