/** Colours for code: comments, strings, numbers, keywords. A light tokenizer, enough to read by; not a parser. */

const LONGEST = 60_000;

const STRINGS = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`/;
const NUMBERS = /\b(?:0x[\da-f]+|\d[\d_]*(?:\.\d+)?(?:e[+-]?\d+)?)\b/;

const C_WORDS =
  'as async await break case catch class const continue default do else enum export extends false final finally fn for from func function if implements import in interface impl let match mod mut new null nil None package private protected pub public return self static struct super switch this throw throws true try type typeof undefined use var void while with yield int long float double bool boolean char string go defer range map chan where trait unsafe val fun';
const PYTHON_WORDS =
  'and as assert async await break case class continue def del elif else except False finally for from global if import in is lambda match None nonlocal not or pass raise return True try while with yield self';
const SHELL_WORDS =
  'if then else elif fi for while until do done case esac function in return exit export local set unset echo cd sudo';
const SQL_WORDS =
  'select from where and or not in is null join left right inner outer full on group by order having limit offset insert into values update set delete create table index view drop alter add primary key foreign references as distinct union all case when then else end with exists between like asc desc count sum avg min max';

/** @param {string} words */
const anyOf = (words) => `\\b(?:${words.split(' ').join('|')})\\b`;

/**
 * @param {RegExp[]} comments
 * @param {string} words
 * @param {RegExp} [strings]
 * @param {string} [flags]
 */
function grammar(comments, words, strings = STRINGS, flags = '') {
  const parts = [
    `(?<comment>${comments.map((part) => part.source).join('|')})`,
    `(?<string>${strings.source})`,
    `(?<number>${NUMBERS.source})`,
    `(?<keyword>${words})`,
    String.raw`(?<call>\b[A-Za-z_]\w*(?=\())`,
  ];
  return new RegExp(parts.join('|'), `gm${flags}`);
}

const HASH = /#.*$/;
const SLASHES = /\/\/.*$|\/\*[^]*?(?:\*\/|$(?![^]))/;
const PYTHON_STRINGS = new RegExp(`"""[^]*?(?:"""|$(?![^]))|'''[^]*?(?:'''|$(?![^]))|${STRINGS.source}`);

const GRAMMARS = {
  c: grammar([SLASHES], anyOf(C_WORDS)),
  python: grammar([HASH], anyOf(PYTHON_WORDS), PYTHON_STRINGS),
  shell: grammar([/(?<![\w$])#.*$/], anyOf(SHELL_WORDS)),
  yaml: grammar([/(?<!\S)#.*$/], String.raw`^[ \t-]*[\w./-]+(?=:(?:\s|$))|\b(?:true|false|null)\b`),
  json: grammar([/\/\/.*$/], String.raw`\b(?:true|false|null)\b`),
  sql: grammar([/--.*$/], anyOf(SQL_WORDS), STRINGS, 'i'),
  markup: grammar([/<!--[^]*?(?:-->|$(?![^]))/], String.raw`<\/?[\w:-]+|\/?>`),
};

/** @type {Record<string, keyof typeof GRAMMARS>} */
const LANGUAGES = Object.fromEntries(
  /** @type {[keyof typeof GRAMMARS, string][]} */ ([
    [
      'c',
      'c cpp c++ cs csharp css dart go golang java javascript js jsx kotlin kt mjs php rs rust scala swift ts tsx typescript',
    ],
    ['python', 'py python python3'],
    ['shell', 'bash console dockerfile make makefile rb ruby sh shell zsh'],
    ['yaml', 'ini toml yaml yml'],
    ['json', 'json jsonc'],
    ['sql', 'sql'],
    ['markup', 'html svg vue xml'],
  ]).flatMap(([name, languages]) => languages.split(' ').map((language) => [language, name])),
);

/**
 * @param {string} code
 * @param {string} language as written after the fence
 * @returns {DocumentFragment | null} null where the language is not known or the code is very long
 */
export function highlight(code, language) {
  const pattern = GRAMMARS[LANGUAGES[language.toLowerCase()]];
  if (!pattern || code.length > LONGEST) return null;
  const fragment = document.createDocumentFragment();
  let end = 0;
  for (const match of code.matchAll(pattern)) {
    fragment.append(code.slice(end, match.index));
    const span = document.createElement('span');
    span.className = `code-${Object.entries(match.groups ?? {}).find(([, text]) => text !== undefined)?.[0]}`;
    span.textContent = match[0];
    fragment.append(span);
    end = match.index + match[0].length;
  }
  fragment.append(code.slice(end));
  return fragment;
}
