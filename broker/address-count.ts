/**
 * AddressCount: how many connections each address has open, so that one alone cannot take all that there may be. Invariant: an address is
 * kept only while it has a connection. Used by Listener and HttpServer, each for its own port.
 */
export class AddressCount {
  readonly #max: number
  readonly #counts = new Map<string, number>()

  constructor(max: number) {
    this.#max = max
  }

  /** False when the address has as many as it may have; else `leave` must follow. */
  enter(address: string): boolean {
    const count = this.#counts.get(address) ?? 0
    if (count >= this.#max) return false
    this.#counts.set(address, count + 1)
    return true
  }

  leave(address: string): void {
    const count = this.#counts.get(address) ?? 0
    if (count > 1) this.#counts.set(address, count - 1)
    else this.#counts.delete(address)
  }
}

/** Of `10.0.0.1:7420` or `::1:7420`: without the port. */
export function addressOf(remoteAddress: string): string {
  const end = remoteAddress.lastIndexOf(':')
  return end < 0 ? remoteAddress : remoteAddress.slice(0, end)
}
