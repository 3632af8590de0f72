/** Findings: the anomalies of a history. Counts all, keeps the first of them with their text. */
import type { Anomaly, AnomalyKind } from './history.ts'

const keptMax = 1_000

export class Findings {
  readonly kept: Anomaly[] = []
  count = 0

  add(kind: AnomalyKind, partition: number, message: string): void {
    this.count++
    if (this.kept.length < keptMax) this.kept.push({ kind, partition, message })
  }
}
