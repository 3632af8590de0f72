/**
 * BucketMetric: a Prometheus histogram read from CountedBuckets at a scrape: whoever counts knows nothing of Prometheus and pays nothing for it.
 * Called by metrics.ts.
 */
import type { Metric, Registry } from 'prom-client'
import type { CountedBuckets } from '../storage/counted-buckets.ts'

export interface BucketMetricOptions {
  readonly name: string
  readonly help: string
  /** Of the counted amounts in one of the metric's: 1000 for ms in seconds. */
  readonly divisor: number
  readonly source: () => CountedBuckets
  readonly registry: Registry
}

export function addBucketMetric({ name, help, divisor, source, registry }: BucketMetricOptions): void {
  // What the registry asks of a metric; prom-client's own histogram would keep buckets of its own.
  const metric = {
    name,
    get: async () => ({ name, help, type: 'histogram', aggregator: 'sum', values: samples(name, divisor, source()) }),
  }
  registry.registerMetric(metric as unknown as Metric)
}

function samples(name: string, divisor: number, { first, counts, sum }: CountedBuckets) {
  const values: { metricName: string; labels: Record<string, string>; value: number }[] = []
  let count = 0
  let bound = first
  for (const [bucket, inBucket] of counts.entries()) {
    count += inBucket
    const le = bucket === counts.length - 1 ? '+Inf' : String(bound / divisor)
    values.push({ metricName: `${name}_bucket`, labels: { le }, value: count })
    bound *= 2
  }
  values.push({ metricName: `${name}_sum`, labels: {}, value: sum / divisor })
  values.push({ metricName: `${name}_count`, labels: {}, value: count })
  return values
}
