// Repairs the browser's language tag where it is none, before anything formats numbers by it.
// Import it first: uPlot makes an Intl.NumberFormat while it loads, and Chromium started in the POSIX locale calls its language
// `en-US@posix`, which Intl refuses; the page would stay empty.
try {
  Intl.getCanonicalLocales(navigator.language);
} catch (error) {
  console.debug('Numbers are written as in English:', error);
  Object.defineProperty(navigator, 'language', { value: 'en-US', configurable: true });
}
