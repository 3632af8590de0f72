/** Consistency, as the client sees to it: a broker that does not know of it must not pass for one that keeps it. Called by whoever reads "now". */
import type { Consistency } from '../protocol/consistency.ts'
import { PlayheadError } from '../protocol/errors.ts'

export interface ConsistencyOptions {
  /**
   * `committed` (default): what the partition's leader knows to be committed, and all that this client itself has written or seen. `linearizable`: also
   * everything that anybody was acknowledged before the read began; in a cluster that takes an answer of the other brokers in sync.
   */
  readonly consistency?: Consistency
}

interface Answer {
  readonly header: { readonly isLinearizable: boolean | undefined }
  /** Who answered. */
  readonly broker: number
}

/** Throws unsupportedVersion for an answer that is less than was asked for. */
export function checkConsistency(wanted: Consistency | undefined, { header, broker }: Answer): void {
  if (wanted !== 'linearizable' || header.isLinearizable === true) return
  const message = `broker ${broker}: found a release that cannot read linearizably, wanted one that can; upgrade it, or read with consistency committed`
  throw new PlayheadError('unsupportedVersion', message, { broker })
}
