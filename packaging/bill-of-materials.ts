/**
 * Writes dist/sbom.cdx.json: everything that Playhead runs on, on all platforms, as CycloneDX. `npm sbom --omit=dev` leaves out what a development
 * dependency needs as well (ajv, typebox …); here only what the lock file says is needed for development alone.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

interface Bill {
  components: { readonly 'bom-ref': string }[]
  dependencies: { readonly ref: string; dependsOn: string[] }[]
}

const root = join(import.meta.dirname, '..')
const { status, stdout, stderr } = spawnSync(
  'npm',
  ['sbom', '--package-lock-only', '--sbom-format=cyclonedx', '--loglevel=error'],
  { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
)
if (status !== 0) throw new Error(`npm sbom: found exit code ${status}, wanted a bill of materials: ${stderr}`)

const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, { dev?: boolean; version: string }>
}
const runsOn = new Set<string>()
for (const [path, { dev, version }] of Object.entries(lock.packages))
  if (dev !== true) runsOn.add(`${path === '' ? 'playhead' : path.split('node_modules/').at(-1)}@${version}`)

const bill = JSON.parse(stdout) as Bill
bill.components = bill.components.filter((component) => runsOn.has(component['bom-ref']))
bill.dependencies = bill.dependencies
  .filter(({ ref }) => runsOn.has(ref))
  .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((each) => runsOn.has(each)) }))
writeFileSync(join(root, 'dist', 'sbom.cdx.json'), `${JSON.stringify(bill, null, 2)}\n`)
