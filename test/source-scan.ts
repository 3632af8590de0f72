/**
 * What the house rules need to know of a source file: its imports and how long its functions are. A scanner over text with strings, templates,
 * regular expressions and comments blanked out; the compiler's own API is not used because its JavaScript form is gone from TypeScript 7.
 */

/** Module specifiers of all static and dynamic imports and re-exports. */
export function importsOf(text: string): string[] {
  const out: string[] = []
  const patterns = [
    /(?:^|\n)\s*(?:import|export)\s[^'"`;]*?from\s*['"]([^'"]+)['"]/g,
    /(?:^|\n)\s*import\s*['"]([^'"]+)['"]/g,
    /\bimport\(\s*['"]([^'"]+)['"]\s*\)/g,
  ]
  for (const pattern of patterns) for (const match of text.matchAll(pattern)) out.push(match[1] ?? '')
  return out
}

interface ScannedFunction {
  readonly name: string
  readonly line: number
  readonly lines: number
}

/**
 * Functions, methods and arrow functions with a body, with their length in lines from the line they begin on to their closing brace.
 * Bodies of `describe`-like nests count as any other function.
 */
export function functionsOf(text: string): ScannedFunction[] {
  const code = blankOut(text)
  const out: ScannedFunction[] = []
  const open: { line: number; name: string | undefined }[] = []
  let line = 1
  let statementStart = 0
  for (let at = 0; at < code.length; at++) {
    const char = code[at]
    if (char === '\n') line++
    if (char === '{') {
      const head = code.slice(statementStart, at)
      open.push({ line: line - (head.trimStart().split('\n').length - 1), name: functionName(head) })
      statementStart = at + 1
    } else if (char === '}') {
      const begun = open.pop()
      if (begun?.name !== undefined) out.push({ name: begun.name, line: begun.line, lines: line - begun.line + 1 })
      statementStart = at + 1
    } else if (char === ';') statementStart = at + 1
    else if (
      char === '\n' &&
      /^\s*(?:[\w#@}]|\/\*\*)/.test(code.slice(at + 1, at + 40)) &&
      balanced(code.slice(statementStart, at))
    ) {
      statementStart = at + 1
    }
  }
  return out
}

function balanced(head: string): boolean {
  let depth = 0
  for (const char of head) {
    if (char === '(' || char === '[') depth++
    else if (char === ')' || char === ']') depth--
  }
  return depth <= 0
}

const notFunctions =
  /^(?:if|for|while|switch|catch|do|else|try|finally|with|return|class|interface|await|throw|new|typeof)\b/

/** The name of the function whose body opens after `head`, or undefined when this brace is something else. */
function functionName(head: string): string | undefined {
  const text = head.trim()
  if (/=>\s*$/.test(text)) {
    const named = /(?:const|let|var)\s+([\w$]+)|([\w$]+)\s*[:=]\s*(?:async\s*)?\(?/.exec(text)
    return named?.[1] ?? named?.[2] ?? '(arrow)'
  }
  const declared = /\bfunction\s*\*?\s*([\w$]*)\s*[(<]/.exec(text)
  if (declared) return declared[1] || '(function)'
  if (notFunctions.test(text)) return undefined
  const method =
    /^(?:(?:export|public|private|protected|static|override|async|get|set|readonly)\s+)*\*?\s*(#?[\w$]+|\[[\w.$]+\])\s*(?:<[^{]*>)?\([\s\S]*\)\s*(?::[\s\S]*)?$/.exec(
      text,
    )
  return method?.[1]
}

/** The same text with the insides of comments, strings, templates and regular expressions as spaces; line breaks stay. */
function blankOut(text: string): string {
  const token =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`|(?<=[=(,:!&|?{};\n]\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+\/[a-z]*/g
  return text.replace(token, (found) => found.replace(/[^\n]/g, ' '))
}
