// Rules for the scripts of the explorer's page. Import cycles are found where Python puts the page together.
import js from "@eslint/js";

export default [
  js.configs.recommended,
  {
    rules: {
      "max-len": ["error", { code: 140 }],
      "max-lines-per-function": ["error", 40],
      "max-params": ["error", 4],
      "no-undef": "off", // TypeScript finds unknown names
      "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "no-restricted-syntax": ["error", { selector: "TemplateLiteral TemplateLiteral", message: "The minifier of the page changes it." }],
      "no-var": "error",
      "prefer-const": "error",
    },
  },
];
