/** A real Prometheus scrapes a real broker, and reads the alert rules that are shipped; docs/metrics.md is what a broker publishes. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { runSecured } from '../broker/security/secured-broker.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { metricsDoc, metricsOfAll, metricsPage, publishedTexts } from './metrics-doc.ts'
import { prometheusTool, runPrometheus } from './prometheus.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..', '..')
const alerts = join(root, 'packaging', 'prometheus', 'alerts.yml')

test('metrics: docs/metrics.md is what a broker publishes, and Prometheus finds no fault with it', async () => {
  const texts = await publishedTexts()
  const metrics = metricsOfAll(texts)
  const stale = 'stale: run node --conditions=playhead-source test/services/metrics-doc.ts'
  assert.equal(await readFile(metricsPage, 'utf8'), metricsDoc(metrics), stale)
  assert.ok(metrics.length > 50, `${metrics.length} metrics`)
  await using directory = await TemporaryDirectory.make()
  const file = join(directory.path, 'metrics.txt')
  const promtool = await prometheusTool('promtool')
  for (const text of texts) {
    await writeFile(file, text)
    const { stdout } = await run('sh', ['-c', `"$1" check metrics < "$2"`, 'sh', promtool, file])
    assert.equal(stdout, '')
  }
})

test('metrics: the alert rules are rules, each runbook is there, and rules and dashboard name metrics that are published', async () => {
  const promtool = await prometheusTool('promtool')
  const { stdout } = await run(promtool, ['check', 'rules', alerts])
  assert.match(stdout, /SUCCESS: \d+ rules found/)
  const rules = await readFile(alerts, 'utf8')
  for (const [, page = ''] of rules.matchAll(/runbook: (\S+)/g)) assert.ok(existsSync(join(root, page)), page)
  const known = new Set(
    [...(await readFile(metricsPage, 'utf8')).matchAll(/^\| `(\w+)` \| (\w+)/gm)].flatMap(([, name = '', type]) =>
      type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
    ),
  )
  const dashboard = await readFile(join(root, 'packaging', 'grafana', 'playhead.json'), 'utf8')
  const named = [...`${rules}${dashboard}`.matchAll(/\b((?:playhead|process)_\w+)\b/g)].map(([name]) => name)
  assert.deepEqual(
    named.filter((name) => !known.has(name)),
    [],
  )
  assert.ok(named.length > 30)
})

test('metrics: a Prometheus with a token that may read the status scrapes a secured broker; without the right it may not', async () => {
  await using secured = await runSecured()
  await secured.admin.admin.createTopic('carts')
  for (let index = 0; index < 25; index++)
    await secured.admin.topic('carts').stream(`s-${index}`).append({ type: 'Happened', data: {} })
  await secured.admin.access.createUser('prometheus', 'scrape, scrape')
  const { token } = await secured.admin.access.createToken({ principal: 'user:prometheus' })
  await using directory = await TemporaryDirectory.make()
  const config = `
global: { scrape_interval: 200ms, scrape_timeout: 200ms }
rule_files: [${alerts}]
scrape_configs:
  - job_name: playhead
    authorization: { credentials: ${token} }
    static_configs: [{ targets: ['127.0.0.1:${secured.broker.httpPort}'] }]
`
  await using prometheus = await runPrometheus(directory.path, config)
  const until = async <T>(ask: () => Promise<T | undefined>): Promise<T> => {
    for (;;) {
      const found = await ask()
      if (found !== undefined) return found
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  const refused = await until(async () => (await prometheus.targets()).find(({ health }) => health === 'down'))
  assert.match(refused.lastError, /403/)
  await secured.admin.access.grant('user:prometheus', [{ operation: 'read', pattern: 'cluster' }])
  await until(async () => (await prometheus.targets()).find(({ health }) => health === 'up'))
  const valueOf = (query: string) => until(async () => (await prometheus.query(query))[0]?.value[1])
  assert.equal(await valueOf('playhead_partition_high_watermark{topic="carts",partition="0"}'), '25')
  assert.equal(await valueOf('playhead_security_on'), '1')
  const commits = Number(await valueOf('playhead_commit_seconds_count'))
  assert.ok(commits >= 25, `${commits} commits`)
  assert.equal(Number(await valueOf('playhead_commit_seconds_bucket{le="+Inf"}')), commits)
  assert.ok(Number(await valueOf('histogram_quantile(0.99, playhead_commit_seconds_bucket)')) > 0)
})
