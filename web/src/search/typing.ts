// When what is typed is worth asking. Pure.

/** Whether a text can be asked while it is still being typed. */
export function isFinished(text: string): boolean {
  const quotes = text.match(/"/g)?.length ?? 0;
  return quotes % 2 === 0 && !/(^|\s)-+$|\^$|\bwithout\s*$/i.test(text);
}
