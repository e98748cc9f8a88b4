/** Colors of classes, the same as in the pictures of `mask_rcnn.draw`: neighbors have hues far apart. */

const CHROMA = 0.17; // as vivid as most hues can be on a screen
const SHADES = [0.74, 0.64, 0.84]; // lightness
const GOLDEN_ANGLE = Math.PI * (3 - Math.sqrt(5)); // steps of it never come back to a hue that was used
const DARK_INK_FROM = 130; // brightness, 0..255

/** Returns `[red, green, blue]`, 0..255, of class `number`, 1..K; objects of a class have other shades. */
export function classColor(number, shade = 0) {
  const hue = 0.5 + number * GOLDEN_ANGLE;
  const lightness = SHADES[shade % SHADES.length];
  const [a, b] = [CHROMA * Math.cos(hue), CHROMA * Math.sin(hue)];
  // Björn Ottosson, "A perceptual color space for image processing" (2020): OKLab to linear sRGB.
  const long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const short = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
    -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
    -0.0041960863 * long - 0.7034186147 * medium + 1.707614701 * short,
  ];
  return linear.map((channel) => Math.round(255 * Math.min(Math.max(channel, 0), 1) ** (1 / 2.2)));
}

/** Returns a CSS color. */
export function css([red, green, blue], opacity = 1) {
  return `rgb(${red} ${green} ${blue} / ${opacity})`;
}

/** Returns black or white, whichever reads better on a color. */
export function inkOn([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue > DARK_INK_FROM ? "#000" : "#fff";
}
