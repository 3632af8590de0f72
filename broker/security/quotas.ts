/**
 * Quotas: what each principal may use in a second, over all its connections. Whoever uses more is not refused but delayed: its connections are not
 * read from until what it has used is paid for. Nothing is kept meanwhile, so a noisy neighbour costs no memory.
 * Invariant: a meter is there while somebody uses it; equal principals share one.
 * Neighbours: Security gives a session its meter; ClientConnection and the HTTP side pay and wait.
 */
import type { Clock } from '../../platform/clock.ts'
import type { Quota } from '../../protocol/access.ts'

/** What was saved up counts for so long: a short burst is no use beyond the quota. */
const savedMsMax = 1_000

/** Of one second's worth; `rate` 0 = no limit. */
class Allowance {
  #left = 0
  #atMs: number

  constructor(nowMs: number) {
    this.#atMs = nowMs - savedMsMax
  }

  spend(amount: number, rate: number, nowMs: number): void {
    if (rate === 0) return
    this.#fill(rate, nowMs)
    this.#left -= amount
  }

  waitMs(rate: number, nowMs: number): number {
    if (rate === 0) return 0
    this.#fill(rate, nowMs)
    return this.#left >= 0 ? 0 : Math.ceil((-this.#left / rate) * 1000)
  }

  #fill(rate: number, nowMs: number): void {
    this.#left = Math.min((rate * savedMsMax) / 1000, this.#left + (rate * (nowMs - this.#atMs)) / 1000)
    this.#atMs = nowMs
  }
}

export class Meter {
  /** Sessions that hold it: connections, and requests over HTTP. */
  holders = 0
  connections = 0
  readonly #quota: () => Quota
  readonly #clock: Clock
  readonly #requests: Allowance
  readonly #in: Allowance
  readonly #out: Allowance

  constructor(clock: Clock, quota: () => Quota) {
    const nowMs = clock.monotonicMs()
    this.#clock = clock
    this.#quota = quota
    this.#requests = new Allowance(nowMs)
    this.#in = new Allowance(nowMs)
    this.#out = new Allowance(nowMs)
  }

  /** As of now: quotas change while connections are open. */
  get quota(): Quota {
    return this.#quota()
  }

  received(bytes: number): void {
    const { requestsPerSecond, inBytesPerSecond } = this.quota
    const nowMs = this.#clock.monotonicMs()
    this.#requests.spend(1, requestsPerSecond, nowMs)
    this.#in.spend(bytes, inBytesPerSecond, nowMs)
  }

  sent(bytes: number): void {
    this.#out.spend(bytes, this.quota.outBytesPerSecond, this.#clock.monotonicMs())
  }

  /** How long the next request has to wait; 0 = not at all. */
  get waitMs(): number {
    const { requestsPerSecond, inBytesPerSecond, outBytesPerSecond } = this.quota
    const nowMs = this.#clock.monotonicMs()
    return Math.max(
      this.#requests.waitMs(requestsPerSecond, nowMs),
      this.#in.waitMs(inBytesPerSecond, nowMs),
      this.#out.waitMs(outBytesPerSecond, nowMs),
    )
  }
}

export class Quotas {
  readonly #clock: Clock
  readonly #quotaOf: (principal: string) => Quota
  readonly #meters = new Map<string, Meter>()

  constructor(clock: Clock, quotaOf: (principal: string) => Quota) {
    this.#clock = clock
    this.#quotaOf = quotaOf
  }

  /** To be let go of. */
  hold(principal: string): Meter {
    let meter = this.#meters.get(principal)
    if (meter === undefined) {
      meter = new Meter(this.#clock, () => this.#quotaOf(principal))
      this.#meters.set(principal, meter)
    }
    meter.holders++
    return meter
  }

  /** Who still has something to pay for is remembered until then: connecting again is no way out. */
  letGo(principal: string, meter: Meter): void {
    meter.holders--
    if (meter.holders > 0 || this.#meters.get(principal) !== meter) return
    const { waitMs } = meter
    if (waitMs === 0) this.#meters.delete(principal)
    else
      this.#clock.after(waitMs, () => {
        if (meter.holders === 0) this.#meters.delete(principal)
      })
  }
}
