/** What is in force and who says so, setting by setting: for `playhead config explain`. Called by main.ts. */
import { PlayheadError } from '../protocol/errors.ts'
import { brokerSettings, flagOf, resolveSettings, variableOf } from './config.ts'
import type { BrokerSettingName, ConfigSources } from './config.ts'
import { nearestName } from './nearest-name.ts'
import { shownValue } from './setting.ts'
import type { BrokerSetting } from './setting.ts'

export interface ExplainedSetting {
  readonly name: string
  readonly value: string | number
  readonly source: string
  readonly default: string | number
  /** In words. */
  readonly wanted: string
  readonly flag: string
  readonly environment: string
  /** `reload` or `restart`: what a change takes. */
  readonly takesEffectBy: 'reload' | 'restart'
  readonly doc: string
}

/** All settings, or the one that is named. Throws invalidConfiguration for what the sources say, and for a name that is none. */
export function configDoc(sources: ConfigSources, name: string | undefined): ExplainedSetting[] {
  const resolved = resolveSettings(sources)
  const names = Object.keys(brokerSettings)
  if (name !== undefined && !names.includes(name)) {
    const nearest = nearestName(name, names)
    const meant = nearest === undefined ? '' : `; did you mean ${nearest}?`
    const message = `setting ${name}: found no setting of that name, wanted one of docs/configuration.md${meant}`
    throw new PlayheadError('invalidConfiguration', message, { setting: name })
  }
  return [...resolved]
    .filter(([each]) => name === undefined || each === name)
    .map(([each, { value, source }]) => explained(each, brokerSettings[each], value, source))
}

function explained(
  name: BrokerSettingName,
  setting: BrokerSetting,
  value: string | number,
  source: string,
): ExplainedSetting {
  return {
    name,
    value: shownValue(setting, value),
    source,
    default: setting.default,
    wanted: wantedText(setting),
    flag: flagOf(name),
    environment: variableOf(name),
    takesEffectBy: setting.reloadable === true ? 'reload' : 'restart',
    doc: setting.doc,
  }
}

function wantedText(setting: BrokerSetting): string {
  if (setting.kind === 'choice') return setting.values.join(', ')
  return setting.kind === 'integer' ? `${setting.min} to ${setting.max} (${setting.unit})` : 'text'
}
