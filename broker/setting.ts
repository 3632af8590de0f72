/**
 * Setting: how one setting of a broker is declared: kind, default, range, text, and whether a running broker takes another value (SIGHUP). The
 * tables are in config.ts and beside the parts that they are about.
 */
interface SettingTexts {
  readonly doc: string
  /** A running broker takes a new value over on SIGHUP; others need a restart. */
  readonly reloadable?: true
  /** Its value is shown to nobody. */
  readonly secret?: true
}

export interface TextSetting extends SettingTexts {
  readonly kind: 'text'
  /** '' = it may be empty. */
  readonly default: string
}

export interface IntegerSetting extends SettingTexts {
  readonly kind: 'integer'
  readonly default: number
  readonly min: number
  readonly max: number
  readonly unit: 'bytes' | 'ms' | 'port' | 'count'
}

export interface ChoiceSetting<V extends string = string> extends SettingTexts {
  readonly kind: 'choice'
  readonly default: V
  readonly values: readonly V[]
}

export type BrokerSetting = TextSetting | IntegerSetting | ChoiceSetting

export const text = (initial: string, doc: string): TextSetting => ({ kind: 'text', default: initial, doc })

export const integer = (
  unit: IntegerSetting['unit'],
  initial: number,
  [min, max]: readonly [number, number],
  doc: string,
): IntegerSetting => ({ kind: 'integer', unit, default: initial, min, max, doc })

/** The first is the default. */
export const choice = <const V extends string>(values: readonly [V, ...V[]], doc: string): ChoiceSetting<V> => ({
  kind: 'choice',
  default: values[0],
  values,
  doc,
})

export const reloadable = <S extends BrokerSetting>(setting: S): S & { readonly reloadable: true } => ({
  ...setting,
  reloadable: true,
})

export const secret = <S extends BrokerSetting>(setting: S): S & { readonly secret: true } => ({
  ...setting,
  secret: true,
})

/** A value as it may be shown. */
export function shownValue({ secret: isSecret }: BrokerSetting, value: string | number): string | number {
  return isSecret === true && value !== '' ? '(hidden)' : value
}
