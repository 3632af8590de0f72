/** playhead config explain: every setting with what is in force here, who says so, and what it does. Asks no broker: it reads what `serve` would. */
import { explainConfig } from '../broker/main.ts'
import { settingFlags } from './serve.ts'
import type { Session } from './session.ts'

export async function configExplain(
  session: Session,
  { config, changed }: { readonly config?: string; readonly changed?: boolean },
  args: readonly string[],
): Promise<void> {
  const [first, ...rest] = args
  const name = first === undefined || first.startsWith('-') ? undefined : first
  const flags = settingFlags(name === undefined ? args : rest)
  const all = await explainConfig({ flags, configFile: config }, name)
  const shown = changed === true ? all.filter(({ source }) => source !== 'default') : all
  if (session.isJson) {
    for (const setting of shown) await session.print(setting)
    return
  }
  if (shown.length === 0) return session.note('every setting has its default')
  await session.printText(
    shown
      .map(({ name: setting, value, source, wanted, flag, environment, takesEffectBy, doc }) =>
        [
          `${setting} = ${value === '' ? '(empty)' : value}   (${source})`,
          `    ${doc}`,
          `    wanted: ${wanted}; ${flag}, ${environment}; a change takes a ${takesEffectBy}`,
        ].join('\n'),
      )
      .join('\n\n'),
  )
}
