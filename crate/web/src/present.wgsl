// Paints an image tensor [1, 3, height, width] in [0, 1] on a canvas of the same size, one pixel to one.

override width: u32;
override height: u32;

@group(0) @binding(0) var<storage, read> image: array<f32>;

// One triangle that covers the canvas.
@vertex
fn cover(@builtin(vertex_index) index: u32) -> @builtin(position) vec4<f32> {
    let corner = vec2<f32>(f32(index / 2u), f32(index % 2u)) * 4.0 - 1.0;
    return vec4<f32>(corner, 0.0, 1.0);
}

@fragment
fn paint(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let plane = width * height;
    let pixel = u32(position.y) * width + u32(position.x);
    return vec4<f32>(image[pixel], image[pixel + plane], image[pixel + 2u * plane], 1.0);
}
