/**
 * docs/metrics.md, written from what a running broker publishes, so that no metric is there without a row and none has a row without being there.
 * `node --conditions=playhead-source test/services/metrics-doc.ts` writes the page anew; prometheus.test.ts fails while it is stale.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeAuthority, makeCertificate } from '../certificates.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { BrokerCluster } from '../client/broker-cluster.ts'
import { Broker } from '../../broker/broker.ts'
import { connect } from '../../client/index.ts'
import { Agent, request } from 'node:https'

export const metricsPage = join(import.meta.dirname, '..', '..', 'docs', 'metrics.md')

export interface PublishedMetric {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly labels: readonly string[]
}

/** Of a broker by itself with everything on that has metrics, and of two in a cluster, each of which leads and follows. */
export async function publishedTexts(): Promise<string[]> {
  return [await aloneText(), ...(await clusteredTexts())]
}

async function clusteredTexts(): Promise<string[]> {
  await using cluster = await BrokerCluster.start([1, 2])
  await using playhead = await cluster.connect([1, 2])
  await playhead.admin.createTopic('carts', { partitions: 2, replicationFactor: 2 })
  await playhead.topic('carts').stream('a').append({ type: 'Happened', data: {} })
  const scrape = async ({ httpPort }: Broker): Promise<string> =>
    (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text()
  await Promise.all(Array.from(cluster.brokers.values(), scrape)) // the second one counts the first
  return await Promise.all(Array.from(cluster.brokers.values(), scrape))
}

async function aloneText(): Promise<string> {
  await using directory = await TemporaryDirectory.make()
  const authority = await makeAuthority(directory.path, 'authority')
  const { certificate, key } = await makeCertificate(directory.path, authority, { name: 'broker' })
  const data = join(directory.path, 'data')
  const tls = { tlsCertificateFile: certificate, tlsKeyFile: key }
  const tier = `file://${join(directory.path, 'tier')}`
  await using broker = await Broker.start({ data, port: 0, httpPort: 0, security: 'on', tier, ...tls })
  const token = (await readFile(join(data, 'admin.token'), 'utf8')).trim()
  const ca = await readFile(authority.certificate)
  await using playhead = await connect(`playheads://localhost:${broker.port}`, {
    credentials: { token },
    tls: { authority: ca },
  })
  await playhead.admin.createTopic('carts')
  await playhead.topic('carts').stream('a').append({ type: 'Happened', data: {} })
  const agent = new Agent({ ca })
  const scrape = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${token}` }
      request({ host: 'localhost', port: broker.httpPort, path: '/metrics', headers, agent }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => (text += part))
        response.once('end', () => resolve(text))
      })
        .once('error', reject)
        .end()
    })
  await scrape() // the second one counts the first
  return await scrape()
}

function metricsIn(text: string): PublishedMetric[] {
  const labelsOf = new Map<string, Set<string>>()
  for (const [, name = '', labels = ''] of text.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const base = name.replace(/_(bucket|sum|count)$/, '')
    for (const each of [name, base]) {
      const known = labelsOf.get(each) ?? new Set()
      for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) if (label !== 'le') known.add(label)
      labelsOf.set(each, known)
    }
  }
  return [...text.matchAll(/^# HELP (\w+) (.*)\n# TYPE \w+ (\w+)$/gm)].map(([, name = '', help = '', type = '']) => ({
    name,
    type,
    help,
    labels: [...(labelsOf.get(name) ?? [])],
  }))
}

/** Each once. */
export function metricsOfAll(texts: readonly string[]): PublishedMetric[] {
  const metrics = new Map<string, PublishedMetric>()
  for (const metric of texts.flatMap(metricsIn)) {
    const known = metrics.get(metric.name)
    metrics.set(metric.name, { ...metric, labels: [...new Set([...(known?.labels ?? []), ...metric.labels])] })
  }
  return [...metrics.values()]
}

export function metricsDoc(metrics: readonly PublishedMetric[]): string {
  const rows = metrics
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type, help, labels }) => {
      const labelText = labels.map((label) => `\`${label}\``).join(', ')
      return `| \`${name}\` | ${type} | ${labelText} | ${help} |`
    })
  return `# Metrics

What \`/metrics\` on the HTTP port publishes, in Prometheus' text format. Written from a running broker by
\`node --conditions=playhead-source test/services/metrics-doc.ts\`; a test fails when it is stale. Where security is on a scrape takes a token
with the right \`read cluster\`. Alert rules are in [packaging/prometheus/alerts.yml](../packaging/prometheus/alerts.yml), a Grafana dashboard in
[packaging/grafana/playhead.json](../packaging/grafana/playhead.json); both are checked against this table.

| metric | type | labels | |
|---|---|---|---|
${rows.join('\n')}
`
}

if (import.meta.main) await writeFile(metricsPage, metricsDoc(metricsOfAll(await publishedTexts())))
