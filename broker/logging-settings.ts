/** Settings of what the broker says about itself on stderr. */
import { choice, reloadable } from './setting.ts'

export const loggingSettings = {
  logFormat: choice(
    ['auto', 'text', 'json'],
    'Lines on stderr: JSON for programs, text for people. auto = text where stderr is a terminal, else JSON.',
  ),
  logLevel: reloadable(choice(['info', 'warn', 'error', 'silent'], 'The least that is worth a line.')),
}
