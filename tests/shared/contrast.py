"""Whether a page's texts can be read."""

# Texts whose contrast with what is behind them is too low, as WCAG counts it, with the two colors.
LOW_CONTRAST = """() => {
    const parsed = color => (color.match(/[\\d.]+/g) || []).map(Number);
    const luminance = ([r, g, b]) => [r, g, b]
        .map(value => value / 255)
        .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
    const behind = element => {
        for (; element; element = element.parentElement) {
            const color = parsed(getComputedStyle(element).backgroundColor);
            if (color.length === 3 || color[3] === 1) return color;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const element of document.body.querySelectorAll("*")) {
        const own = [...element.childNodes].filter(node => node.nodeType === Node.TEXT_NODE);
        const text = own.map(node => node.textContent).join("").trim();
        if (!text || !element.checkVisibility()) continue;
        const [front, back] = [parsed(getComputedStyle(element).color), behind(element)];
        const [low, high] = [luminance(front), luminance(back)].sort((a, b) => a - b);
        if ((high + 0.05) / (low + 0.05) < 4.5) found.push([text, front, back]);
    }
    return found;
}"""
