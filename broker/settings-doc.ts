/**
 * docs/configuration.md, written from the tables that the code checks with: config.ts for the broker, storage/topic-settings.ts for
 * topics. test/broker/settings-doc.test.ts fails when the page is stale; `node broker/settings-doc.ts` prints it anew.
 */
import { GiB, KiB, MiB } from '../protocol/limits.ts'
import { topicSettingTable } from '../storage/topic-settings.ts'
import { brokerSettings, flagOf, variableOf } from './config.ts'
import type { BrokerSetting } from './setting.ts'

export function settingsDoc(): string {
  const brokerRows = Object.entries(brokerSettings).map(([name, setting]) => brokerRow(name, setting))
  const topicRows = Object.entries(topicSettingTable).map(
    ([name, { default: initial, range, doc }]) => `| \`${name}\` | ${code(initial)} | ${cell(range)} | ${cell(doc)} |`,
  )
  return `# Configuration

Written from the code by \`node broker/settings-doc.ts > docs/configuration.md\`; a test fails when it is stale.

## Settings of a broker

Sources, later ones win: the defaults, the JSON file of \`--config FILE\` (\`{"port": 7420}\`), the environment, flags of \`playhead serve\`.
A setting that is unknown or out of range stops the start and is named (\`invalidConfiguration\`), with the nearest name there is.

\`playhead config explain\` shows what is in force on this machine and who says so: file, environment and flags as for \`playhead serve\`.
\`kill -HUP\` has a running broker read its file again: settings marked *reload* change at once, others are named in its log and wait for a
restart; a file with anything wrong in it changes nothing.

| setting | flag | environment | default | range | takes a change by | what it does |
|---|---|---|---|---|---|---|
${brokerRows.join('\n')}

## Settings of a topic

Given as \`--config key=value\` to \`playhead topic create\` and \`playhead topic alter\`, under Kafka's names. Nothing is deleted by default.

| setting | default | range | what it does |
|---|---|---|---|
${topicRows.join('\n')}
`
}

function brokerRow(name: string, setting: BrokerSetting): string {
  const names = `| \`${name}\` | \`${flagOf(name)}\` | \`${variableOf(name)}\` |`
  if (setting.kind === 'text')
    return `${names} ${setting.default === '' ? 'empty' : code(setting.default)} | text | ${reload(setting)} | ${cell(setting.doc)} |`
  if (setting.kind === 'choice')
    return `${names} ${code(setting.default)} | ${setting.values.map(code).join(', ')} | ${reload(setting)} | ${cell(setting.doc)} |`
  const { unit, min, max } = setting
  return `${names} ${amount(setting.default, unit)} | ${amount(min, unit)} to ${amount(max, unit)} | ${reload(setting)} | ${cell(setting.doc)} |`
}

function reload({ reloadable }: BrokerSetting): string {
  return reloadable === true ? 'reload' : 'restart'
}

function amount(value: number, unit: string): string {
  if (unit === 'bytes') {
    for (const [size, name] of [
      [GiB, 'GiB'],
      [MiB, 'MiB'],
      [KiB, 'KiB'],
    ] as const) {
      if (value >= size && value % size === 0) return `${value / size} ${name}`
    }
    return `${value} bytes`
  }
  return unit === 'ms' ? `${value} ms` : String(value)
}

function code(text: string): string {
  return `\`${text}\``
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;')
}

if (import.meta.main) process.stdout.write(settingsDoc())
