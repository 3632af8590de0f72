/** Findings: the anomalies of a history. Counts all, keeps the first of them with their text. */
import type { Anomaly, AnomalyKind } from './history.ts'

const keptMax = 100

export class Findings {
  readonly kept: Anomaly[] = []
  count = 0

  add(kind: AnomalyKind, message: string): void {
    this.count++
    if (this.kept.length < keptMax) this.kept.push({ kind, message })
  }
}
